#include "fuzz.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static const char *volatile trying_file;
static const uint8_t *volatile trying_data;
static volatile size_t trying_size;
static unsigned limit;

// Only linked where -sanitize=fuzzer is; the linker is told to look for it (hack/fuzz.sh).
__attribute__((weak)) int LLVMFuzzerRunDriver(int *argc, char ***argv, fuzz_callback callback);

static void say(const char *text)
{
	ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
	(void)ignored;
}

static void died(int signal_number)
{
	const char *file = trying_file;
	if (file) {
		int fd = open(file, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);
		size_t done = 0;
		while (fd >= 0 && done < trying_size) {
			ssize_t n = write(fd, trying_data + done, trying_size - done);
			if (n <= 0)
				break;
			done += (size_t)n;
		}
		say(signal_number == SIGALRM ? "\nno end in sight; the input is in " : "\ndied; the input is in ");
		say(file);
		say("\n");
	}
	_exit(signal_number == SIGALRM ? 70 : 77);
}

void fuzz_trying(const char *file, const uint8_t *data, size_t size)
{
	trying_file = NULL;
	trying_data = data;
	trying_size = size;
	trying_file = file;
	alarm(limit);
}

void fuzz_watch(unsigned seconds)
{
	static uint8_t stack[64 << 10];
	stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
	struct sigaction action = {.sa_handler = died, .sa_flags = SA_ONSTACK};
	int numbers[] = {SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGALRM};
	limit = seconds;
	sigaltstack(&alternate, NULL);
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		sigaction(numbers[i], &action, NULL);
}

int fuzz_guided(int argc, char **argv, fuzz_callback callback)
{
	if (!LLVMFuzzerRunDriver)
		return -1;
	return LLVMFuzzerRunDriver(&argc, &argv, callback);
}
