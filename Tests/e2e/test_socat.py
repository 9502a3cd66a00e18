"""socat inside the binary, beside Debian's: each as server and as client of the other."""

import itertools
import os
import re
import shutil
import subprocess

import pytest
from host_tools import check, link_tools

pytestmark = pytest.mark.skipif(not shutil.which("socat"), reason="needs Debian's socat (hack/deps.sh test)")

# $S listens and $C connects: either program. `up` waits until somebody listens.
CASES = {
    "TCP4, an echo": "$S TCP4-LISTEN:5001,reuseaddr EXEC:cat & up 5001; echo hello | $C - TCP4:127.0.0.1:5001; wait",
    "TCP6": "$S TCP6-LISTEN:5001,reuseaddr EXEC:cat & up 5001; echo hello | $C - TCP6:[::1]:5001; wait",
    "TCP, names": "$S TCP-L:5001,reuseaddr SYSTEM:'cat; echo done' & up 5001; echo hi | $C STDIO TCP-CONNECT:localhost:5001; wait",
    "TCP, lower case": "$S tcp4-listen:5001,bind=127.0.0.1,reuseaddr exec:cat & up 5001; echo hi | $C stdio tcp4:127.0.0.1:5001; wait",
    "half close": "$S TCP4-LISTEN:5001,reuseaddr SYSTEM:'wc -c' & up 5001; seq 1000 | $C - TCP4:127.0.0.1:5001; wait",
    "half close, slow answer":
        "$S -t2 TCP4-LISTEN:5001,reuseaddr SYSTEM:'cat >/dev/null; sleep 1; echo late' & up 5001;"
        "echo x | $C -t2 - TCP4:127.0.0.1:5001; wait",
    "an answer that is too late":
        "$S -t0.2 TCP4-LISTEN:5001,reuseaddr SYSTEM:'cat >/dev/null; sleep 2; echo late' & up 5001;"
        "echo x | $C -t0.2 - TCP4:127.0.0.1:5001; echo $?",
    "much": "$S -u TCP4-LISTEN:5001,reuseaddr SYSTEM:'md5sum > sum' & up 5001;"
            "head -c 5000000 /dev/zero | $C -u - TCP4:127.0.0.1:5001; wait; sleep 0.2; cat sum",
    "much, both ways": "$S TCP4-LISTEN:5001,reuseaddr EXEC:cat & up 5001;"
                       "head -c 3000000 /dev/zero | $C -t5 - TCP4:127.0.0.1:5001 | md5sum; wait",
    "fork": "$S TCP4-LISTEN:5001,reuseaddr,fork SYSTEM:'read x; echo got $x' & P=$!; up 5001;"
            "for n in 1 2 3; do echo $n | $C - TCP4:127.0.0.1:5001; done; kill $P; wait $P; echo $?",
    "fork, at once": "$S TCP4-LISTEN:5001,reuseaddr,fork SYSTEM:'sleep 0.2; cat' & P=$!; up 5001;"
                     "for n in 1 2 3; do (echo $n | $C - TCP4:127.0.0.1:5001 > out$n) & Q=\"$Q $!\"; done; wait $Q;"
                     "cat out1 out2 out3; kill $P; wait $P",
    "forwarding": "$S TCP4-LISTEN:5002,reuseaddr EXEC:cat & $S TCP4-LISTEN:5001,reuseaddr,fork TCP4:127.0.0.1:5002 & P=$!;"
                  "up 5001; up 5002; echo hi | $C - TCP4:127.0.0.1:5001; kill $P; wait",
    "range": "$S TCP4-LISTEN:5001,reuseaddr,range=10.0.0.0/8,fork EXEC:cat & P=$!; up 5001;"
             "echo hi | $C - TCP4:127.0.0.1:5001; kill $P; wait $P",
    "source port": "$S TCP4-LISTEN:5001,reuseaddr SYSTEM:'read x; echo $SOCAT_PEERPORT' & up 5001;"
                   "echo | $C - TCP4:127.0.0.1:5001,bind=127.0.0.1,sourceport=6001 | tail -1; wait",
    "what a program is told":
        "$S TCP4-LISTEN:5001,reuseaddr SYSTEM:'read x; echo $SOCAT_PEERADDR $SOCAT_SOCKADDR $SOCAT_SOCKPORT' & up 5001;"
        "echo | $C - TCP4:127.0.0.1:5001; wait",
    "what a program is told, IPv6":
        "$S TCP6-LISTEN:5001,reuseaddr SYSTEM:'read x; echo $SOCAT_PEERADDR $SOCAT_SOCKADDR $SOCAT_SOCKPORT' & up 5001;"
        "echo | $C - TCP6:[::1]:5001; wait",
    "UDP": "$S UDP4-LISTEN:5001 EXEC:cat & P=$!; up -u 5001; echo hi | $C -t0.5 - UDP4:127.0.0.1:5001; kill $P; wait $P",
    "UDP6": "$S UDP6-LISTEN:5001 EXEC:cat & P=$!; up -u 5001; echo hi | $C -t0.5 - UDP6:[::1]:5001; kill $P; wait $P",
    "UDP, fork": "$S UDP4-LISTEN:5001,fork EXEC:cat & P=$!; up -u 5001;"
                 "for n in 1 2; do echo $n | $C -t0.5 - UDP4:127.0.0.1:5001; sleep 0.1; done; kill $P",
    "UDP, one answer each": "$S UDP4-RECVFROM:5001,fork SYSTEM:'read x; echo got $x' & P=$!; up -u 5001;"
                            "for n in 1 2; do echo $n | $C -t0.5 - UDP4-SENDTO:127.0.0.1:5001; done; kill $P",
    "UDP, to a file": "$S -u UDP4-RECV:5001 CREATE:got & P=$!; up -u 5001; echo a | $C -u - UDP4-SENDTO:127.0.0.1:5001;"
                      "echo b | $C -u - UDP-DATAGRAM:127.0.0.1:5001 2>/dev/null || echo b | $C -u - UDP4-SENDTO:127.0.0.1:5001;"
                      "sleep 0.3; kill $P; cat got",
    "UNIX": "$S UNIX-LISTEN:sock,mode=600 EXEC:cat & up sock; stat -c %a sock; echo hi | $C - UNIX-CONNECT:sock; wait; ls sock",
    "UNIX, fork": "$S UNIX-LISTEN:sock,fork,unlink-early EXEC:cat & P=$!; up sock; echo 1 | $C - UNIX:sock;"
                  "echo 2 | $C - GOPEN:./sock; kill $P; wait $P; ls sock",
    "UNIX, a name that is there": "touch sock; $S UNIX-LISTEN:sock EXEC:cat; echo $?",
    "UNIX to TCP": "$S TCP4-LISTEN:5001,reuseaddr EXEC:cat & $S UNIX-LISTEN:sock TCP4:127.0.0.1:5001 & up 5001; up sock;"
                   "echo hi | $C - UNIX-CONNECT:sock; wait",
    "abstract": "$S ABSTRACT-LISTEN:lab EXEC:cat & sleep 0.3; echo hi | $C - ABSTRACT-CONNECT:lab; wait",
    "no reader": "$S -U TCP4-LISTEN:5001,reuseaddr SYSTEM:'seq 100000' 2>/dev/null & up 5001; $C -u TCP4:127.0.0.1:5001 - 2>/dev/null | head -1; wait 2>/dev/null",
    "what is said of traffic": "$S TCP4-LISTEN:5001,reuseaddr EXEC:cat & up 5001; echo hello | $C -v - TCP4:127.0.0.1:5001; wait",
    "in hexadecimal": "$S TCP4-LISTEN:5001,reuseaddr EXEC:cat & up 5001; printf 'hello\\0w\\377rld' | $C -x - TCP4:127.0.0.1:5001; wait",
    "both": "$S TCP4-LISTEN:5001,reuseaddr EXEC:cat & up 5001; echo 'hello world, hello' | $C -x -v - TCP4:127.0.0.1:5001; wait",
}

# One program alone, in a folder of its own.
ALONE = r"""
echo hi | socat - -
echo hi | socat STDIN STDOUT
socat -u OPEN:in STDOUT
socat -u ./in -
socat -u in -
socat -u FILE:in STDIO
socat -u GOPEN:in CREATE:made; cat made; stat -c %a made
echo new | socat -u - CREATE:made; cat made
echo more | socat -u - GOPEN:made; cat made
echo over | socat -u - OPEN:made,trunc; cat made
echo end | socat -u - OPEN:made,append; cat made
echo x | socat -u - OPEN:nosuch
echo x | socat -u - OPEN:made2,creat,mode=600; stat -c %a made2; cat made2
socat -u OPEN:nosuch -
socat -u OPEN:in!!CREATE:both -; ls both
socat -U CREATE:made3 OPEN:in; cat made3
echo hi | socat - EXEC:'cat -n'
echo hi | socat - EXEC:"tr a-z A-Z"
echo hi | socat - SYSTEM:'cat | tr a-z A-Z'
socat -u EXEC:'echo a b' -
socat -u EXEC:'echo "a  b" c' -
socat -u 'EXEC:sh -c "echo err >&2",stderr' -
socat -u SYSTEM:'echo a\,b' -
echo hi | socat - PIPE
echo hi | socat -u - FD:1
socat -u EXEC:'sh -c "exit 3"' -; echo $?
socat - TCP4:127.0.0.1:1 < /dev/null
socat - TCP6:[::1]:1 < /dev/null
socat - TCP4:10.255.255.1:1,connect-timeout=0.2 < /dev/null
socat - UNIX-CONNECT:nosuch < /dev/null
socat - UNIX-CONNECT:in < /dev/null
socat - ABSTRACT-CONNECT:nosuch < /dev/null
socat - TCP4:nosuch.invalid:80 < /dev/null
socat - TCP4:127.0.0.1:nosuch < /dev/null
socat - TCP4:127.0.0.1
socat - TCP4:127.0.0.1:1:2
socat - TCP4
socat - NOSUCH:1
socat - TCP4:127.0.0.1:1,nosuch
socat - TCP4:127.0.0.1:1,nosuch=5
socat - STDIO:1
socat
socat -
socat - - -
socat --nosuch
socat -q
socat TCP4-LISTEN:5001,bind=1.2.3.4 -
socat - TCP4:127.0.0.1:1,retry=2,interval=0.1 < /dev/null
socat -T0.2 TCP4-LISTEN:5001,reuseaddr,accept-timeout=0.1 - < /dev/null
sleep 3 | socat -T0.3 - PIPE; echo $?
echo hi | socat -b1 - EXEC:cat
echo hi | socat -u - 'CREATE:a\:b'; ls
socat -u OPEN:in,ignoreeof,nosuch2 -
socat -lf log - TCP4:127.0.0.1:1 < /dev/null; grep -c refused log
socat -lp name - TCP4:127.0.0.1:1 < /dev/null
"""

UP = """up() {
    n=0; while [ $n -lt 100 ]; do
        case $1 in -u) ss -lun | grep -q :$2 ;; [0-9]*) ss -ltn | grep -q :$1 ;; *) test -S $1 ;; esac && return
        sleep 0.05; n=$((n + 1))
    done; }
"""


def run(command, folder, timeout=60, **environment):
    """In namespaces of its own: what a line leaves running ends with it."""
    try:
        result = subprocess.run(
            ["unshare", "-n", "-p", "-f", "--kill-child", "--mount-proc", "sh", "-c", f"ip link set lo up\n{UP}{command}"],
            capture_output=True, stdin=subprocess.DEVNULL, text=True, errors="backslashreplace", cwd=folder,
            timeout=timeout, env=environment or None)
    except subprocess.TimeoutExpired:
        return "", "runs on", -1
    # Times, process ids and numbers of descriptors are not the same; programs notice the end at other moments.
    err = re.sub(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d(\.\d+)?", "TIME", result.stderr)
    err = re.sub(r"\[\d+\]", "[PID]", err)
    err = re.sub(r"(child(?: process)?) \d+", r"\1 PID", err)
    err = re.sub(r"(?m)\((\d+)(, (?:0x\w+|\.\.\.), \d+)?", "(FD", err)
    err = re.sub(r"getaddrinfo.*: ", "getaddrinfo: ", err)
    said = [line for line in err.splitlines() if not re.match(r"Terminated|sh: |cat: |seq: ", line)]
    return result.stdout, "\n".join(said), result.returncode


@pytest.fixture
def programs(tmp_path):
    folder = tmp_path / "tools"
    folder.mkdir()
    link_tools(folder, ["socat"])
    return [shutil.which("socat"), str(folder / "socat")]


@pytest.mark.parametrize("name", CASES)
def test_forwarding(programs, tmp_path, name):
    said = {}
    for number, (server, client) in enumerate(itertools.product(programs, programs)):
        folder = tmp_path / str(number)
        folder.mkdir()
        said[server, client] = run(f"S={server} C={client}\n{CASES[name]}", folder)
    expected = said.pop((programs[0], programs[0]))
    check([(f"{CASES[name]} # {server}, {client}", expected, result)
           for (server, client), result in said.items() if result != expected])


def test_alone(programs, tmp_path):
    found = []
    for number, line in enumerate(ALONE.strip().splitlines()):
        results = []
        for kind, program in enumerate(programs):
            folder = tmp_path / f"{number}-{kind}"
            folder.mkdir()
            (folder / "in").write_text("line 1\nline 2\n")
            path = program.rsplit("/", 1)[0]
            results.append(run(line, folder, timeout=6, PATH=f"{path}:{os.environ['PATH']}"))
        if results[0] != results[1]:
            found.append((line, *results))
    check(found)
