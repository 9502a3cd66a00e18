/// The matches and targets of iptables as a table: names and revisions of the kernel's xt_* structures (linux/netfilter/xt_*.h,
/// ipt_*.h, ip6t_*.h), where each option's value lies in them, and the texts of `-S` and `-L`.
///
///     match|target NAME REVISION[,REVISION6] SIZE[,SIZE6] [4|6] [init=HEX@OFFSET,...] [proto=NUMBER] [need] [list=PREFIX]
///      OPTION[|OPTION] KIND@OFFSET[,OFFSET] [flag=WIDTH:OFFSET:VALUE[/MASK]] [inv=WIDTH:OFFSET:BITS] [def=HIDDEN] [list=TEXT]
///
/// Options are in the order in which they are printed. `flag`: set when the option is given, printed when it is set; without one an
/// option is printed when its bytes differ from the initial ones (`always`: anyhow; `hidden`: never). In texts `%` is the value, `_`
/// a space (`;` an underscore), `~` "! " and `!` "!" where inverted, `=` of "?=" "!" or "=". `must`: an error if it is not given. `need`: one of them. An option `-` is only listed.
/// `init` with `/4` or `/6` is of that family.
enum ExtensionTable {
    static let text: StaticString = """
        match tcp 0 16 init=ffff@2,ffff@6 proto=6 list=tcp
         sport|source-port ports@0 inv=1:11:1 list=spt
         dport|destination-port ports@4 inv=1:11:2 list=dpt
         tcp-option u8@8 inv=1:11:8 list=option=!%
         tcp-flags tcpflags@9 inv=1:11:4 list=flags:!%
         syn syn@9 inv=1:11:4 hidden
        match udp 0 16 init=ffff@2,ffff@6 proto=17 list=udp
         sport|source-port ports@0 inv=1:8:1 list=spt
         dport|destination-port ports@4 inv=1:8:2 list=dpt
        match sctp 0 296 init=ff@268,ff@271,ff@274,ff@277 proto=132 list=sctp
         sport|source-port ports@4 flag=4:284:1 inv=4:288:1 list=spt
         dport|destination-port ports@0 flag=4:284:2 inv=4:288:2 list=dpt
        match icmp 0 8 4 init=ff@0,ff@2 proto=1
         icmp-type icmp@0 inv=1:3:1 always list=icmp
        match icmp6 0 8 6 init=ff@2 proto=58
         icmpv6-type icmp@0 inv=1:3:1 always must list=ipv6-icmp
        match comment 0 256
         comment quoted:256@0 always must list=/*_%_*/
        match conntrack 3 168 need
         ctstate bits:ctstate@150 flag=2:146:1 inv=2:148:1 list=~ctstate_%
         ctproto protocol@136 flag=2:146:2 inv=2:148:2 list=~ctproto_%
         ctorigsrc address@0 flag=2:146:4 inv=2:148:4 list=~ctorigsrc_%
         ctorigdst address@32 flag=2:146:8 inv=2:148:8 list=~ctorigdst_%
         ctreplsrc address@64 flag=2:146:16 inv=2:148:16 list=~ctreplsrc_%
         ctrepldst address@96 flag=2:146:32 inv=2:148:32 list=~ctrepldst_%
         ctorigsrcport range16@138,154 flag=2:146:256 inv=2:148:256 list=~ctorigsrcport_%
         ctorigdstport range16@140,156 flag=2:146:512 inv=2:148:512 list=~ctorigdstport_%
         ctreplsrcport range16@142,158 flag=2:146:1024 inv=2:148:1024 list=~ctreplsrcport_%
         ctrepldstport range16@144,160 flag=2:146:2048 inv=2:148:2048 list=~ctrepldstport_%
         ctstatus bits:ctstatus@152 flag=2:146:64 inv=2:148:64 list=~ctstatus_%
         ctexpire range32@128,132 flag=2:146:128 inv=2:148:128 list=~ctexpire_%
         ctdir direction@148 flag=2:146:4096 list=ctdir_%
        match state=conntrack 3 168 init=0120@146
         state bits:state@150 inv=2:148:1 always must list=~state_%
        match mark 1 16
         mark mark@0 inv=1:8:1 always must list=mark_match_~%
        match connmark 1 16
         mark mark@0 inv=1:8:1 always must list=connmark_match_!_%
        match addrtype 1 8 need list=ADDRTYPE_match
         src-type bits:addrtype@0 inv=4:4:1 list=src-type_!%
         dst-type bits:addrtype@2 inv=4:4:2 list=dst-type_!%
         limit-iface-in flag@0 flag=4:4:4 list=limit-in
         limit-iface-out flag@0 flag=4:4:8 list=limit-out
        match multiport 1 48
         sports|source-ports multiport@0 flag=1:0:0/255 inv=1:47:1 list=multiport_sports_^%
         dports|destination-ports multiport@0 flag=1:0:1/255 inv=1:47:1 list=multiport_dports_^%
         ports multiport@0 flag=1:0:2/255 inv=1:47:1 list=multiport_ports_^%
        match limit 0 48 init=001bb700@0,05@4 list=limit:
         limit rate@0 always list=avg_%
         limit-burst u32@4 always def=5 list=burst_%
        match statistic 0 24 init=ffff@0 list=statistic
         mode enum:statistic:2@0 always must list=mode_%
         probability probability@4 flag=2:0:0/65535 inv=2:2:1 list=~probability_%
         every nth@4 flag=2:0:1/65535 inv=2:2:1 list=~every_%
         packet u32@8 flag=2:0:1/65535 list=%packet
        match owner 1 24 need
         uid-owner user@0,4 flag=1:16:1 inv=1:17:1 list=~owner_UID_match_%
         gid-owner group@8,12 flag=1:16:2 inv=1:17:2 list=~owner_GID_match_%
         suppl-groups flag@0 flag=1:16:8 list=incl._suppl._groups
         socket-exists flag@0 flag=1:16:4 inv=1:17:4 list=~owner_socket_exists
        match mac 0 16
         mac-source mac@0 inv=4:8:1 always must list=MAC_~%
        match iprange 1 72 need
         src-range addresses@0 flag=1:64:1 inv=1:64:16 list=source_IP_range_~%
         dst-range addresses@32 flag=1:64:2 inv=1:64:32 list=destination_IP_range_~%
        match pkttype 0 8
         pkt-type enum:pkttype:4@0 inv=4:4:1 always must list=PKTTYPE_?=_%
        match tcpmss 0 8
         mss range16@0,2 inv=1:4:1 always must list=tcpmss_match_!%
        match length 0 8
         length range16@0,2 inv=1:4:1 always must list=length_!%
        match ttl 0 8 4 need
         ttl-eq u8@1 flag=1:0:0/254 inv=1:0:1 list=TTL_match_TTL_?=_%
         ttl-lt u8@1 flag=1:0:2/255 list=TTL_match_TTL_<_%
         ttl-gt u8@1 flag=1:0:3/255 list=TTL_match_TTL_>_%
        match hl 0 8 6 need
         hl-eq u8@1 flag=1:0:0/254 inv=1:0:1 list=HL_match_HL_?=_%
         hl-lt u8@1 flag=1:0:2/255 list=HL_match_HL_<_%
         hl-gt u8@1 flag=1:0:3/255 list=HL_match_HL_>_%
        match physdev 0 72 need list=PHYSDEV_match
         physdev-is-in flag@0 flag=1:65:8 inv=1:64:8 list=~--physdev-is-in
         physdev-in interface@0 flag=1:65:1 inv=1:64:1 list=~--physdev-in_%
         physdev-is-out flag@0 flag=1:65:16 inv=1:64:16 list=~--physdev-is-out
         physdev-out interface@32 flag=1:65:2 inv=1:64:2 list=~--physdev-out_%
         physdev-is-bridged flag@0 flag=1:65:4 inv=1:64:4 list=~--physdev-is-bridged
        match recent 1 232 init=44454641554c54@10,ffffffffffffffffffffffffffffffff@212 list=~recent:
         set flag@0 flag=1:8:2 inv=1:9:1 list=SET
         rcheck flag@0 flag=1:8:1 inv=1:9:1 list=CHECK
         update flag@0 flag=1:8:4 inv=1:9:1 list=UPDATE
         remove flag@0 flag=1:8:8 inv=1:9:1 list=REMOVE
         seconds u32@0 list=seconds:_%
         reap flag@0 flag=1:8:32 list=reap
         hitcount u32@4 list=hit;count:_%
         rttl flag@0 flag=1:8:16 list=TTL-Match
         name string:200@10 always list=name:_%
         mask netmask@212 always
         rsource flag@0 flag=1:210:0/255 list=side:_source
         rdest flag@0 flag=1:210:1/255 list=side:_dest
         - netmask@212 always list=mask:_%
        match rpfilter 0 8 list=rpfilter
         loose flag@0 flag=1:0:1 list=loose
         validmark flag@0 flag=1:0:2 list=validmark
         accept-local flag@0 flag=1:0:4 list=accept-local
         invert flag@0 flag=1:0:8 list=invert
        match dscp 0 8 need
         dscp hex8@0 inv=1:1:1 always list=DSCP_match_!%
         dscp-class dscpclass@0 inv=1:1:1 hidden
        match esp 0 16 init=ffffffff@4 proto=50 list=esp
         espspi range32@0,4 inv=1:8:1 list=spis:!%
        match helper 0 40
         helper quoted:29@4 inv=4:0:1 always must list=helper_match_~"%"
        match socket 3 8 list=socket
         nowildcard flag@0 flag=1:0:2 list=--nowildcard
         transparent flag@0 flag=1:0:1 list=--transparent
         restore-skmark flag@0 flag=1:0:4 list=--restore-skmark
        match connlimit 1 32 need init=ffffffffffffffffffffffffffffffff@0
         connlimit-upto u32@16 flag=4:20:1/1 list=#conn_%upto
         connlimit-above u32@16 flag=4:20:0/1 list=#conn_%above
         connlimit-mask connmask@0 always
         connlimit-saddr flag@0 flag=4:20:0/2
         connlimit-daddr flag@0 flag=4:20:2/2
        match set 4 48
         match-set ipset@0 inv=1:3:1 always must list=~match-set_%
         return-nomatch flag@0 flag=4:40:128 list=return-nomatch
        target REJECT 0 8 init=03@0 4 list=
         reject-with enum:reject4:4@0 always list=reject-with_%
        target REJECT 0 8 init=04@0 6 list=
         reject-with enum:reject6:4@0 always list=reject-with_%
        target LOG 0 32 init=04@0 list=LOG_%log
         log-prefix quoted:29@2 list=prefix_"%"
         log-level loglevel@0 def=4
         log-tcp-sequence flag@0 flag=1:1:1
         log-tcp-options flag@0 flag=1:1:2
         log-ip-options flag@0 flag=1:1:4
         log-uid flag@0 flag=1:1:8
         log-macdecode flag@0 flag=1:1:32
        target NFLOG 0 80 list=
         nflog-prefix quoted:63@12 list=nflog-prefix_%
         nflog-group u16@4 list=nflog-group_%
         nflog-range u32@0 hidden
         nflog-size u32@0 flag=2:8:1 list=nflog-size_%
         nflog-threshold u16@6 list=nflog-threshold_%
        target MARK 2 8 need init=ffffffff@4
         set-xmark xmark@0 always list=MARK_%
         set-mark setmark@0 hidden
         and-mark andmark@0 hidden
         or-mark ormark@0 hidden
         xor-mark xormark@0 hidden
        target CONNMARK 2 16 need init=ffffffff@4,ffffffff@8
         set-xmark xmark@0 flag=1:14:0/255 list=CONNMARK_%
         set-mark setmark@0 hidden
         and-mark andmark@0 hidden
         or-mark ormark@0 hidden
         xor-mark xormark@0 hidden
         save-mark flag@0 flag=1:14:1/255 list=CONNMARK_save%masks
         restore-mark flag@0 flag=1:14:2/255 list=CONNMARK_restore%masks
         nfmask nfmask@8 always
         ctmask nfmask@4 always
         mask bothmasks@4 hidden
        target DNAT 2 48
         to-destination nat@0 always must list=to:%
         random flag@0 flag=4:0:4 list=random
         persistent flag@0 flag=4:0:8 list=persistent
        target SNAT 0,1 24,40 init=01@0/4
         to-source nat@0 always must list=to:%
         random flag@0 flag=4:nat:4 list=random
         random-fully flag@0 flag=4:nat:16 list=random-fully
         persistent flag@0 flag=4:nat:8 list=persistent
        target MASQUERADE 0 24,40 init=01@0/4 list=
         to-ports natports@0 flag=4:nat:2 list=masq_ports:_%
         random flag@0 flag=4:nat:4 list=random
         random-fully flag@0 flag=4:nat:16 list=random-fully
        target REDIRECT 0 24,40 init=01@0/4
         to-ports natports@0 flag=4:nat:2 list=redir_ports_%
         random flag@0 flag=4:nat:4 list=random
        target NETMAP 0 24,40 init=01@0/4
         to netmap@0 always must list=to:%
        target CT 2 72 list=CT
         notrack flag@0 flag=2:0:1 list=notrack
         helper string:15@12 list=helper_%
         timeout string:31@28 list=timeout_%
         ctevents bits:ctevents:4@4 list=ctevents_%
         expevents bits:expevents:4@8 list=expevents_%
         zone-orig u16@2 flag=2:0:4 list=zone-orig_%
         zone-reply u16@2 flag=2:0:8 list=zone-reply_%
         zone u16@2 flag=2:0:0/12 def=0 list=zone_%
        target NOTRACK=CT 2 72 init=03@0 list=NOTRACK
        target TCPMSS 0 8 need
         set-mss mss@0 list=TCPMSS_set_%
         clamp-mss-to-pmtu clamp@0 list=TCPMSS_clamp_to_PMTU
        target TPROXY 1 32 list=TPROXY
         on-port beport@24 always must list=redirect_%on
         on-ip plainaddress@8 always
         tproxy-mark tproxymark@0 always list=mark_%
        target CHECKSUM 0 8
         checksum-fill flag@0 flag=1:0:1 must list=CHECKSUM_fill
        target CLASSIFY 0 8
         set-class class@0 always must list=CLASSIFY_set_%
        target TTL 0 8 4 need
         ttl-set u8@1 flag=1:0:0/255 list=TTL_set_to_%
         ttl-inc u8@1 flag=1:0:1/255 list=TTL_increment_by_%
         ttl-dec u8@1 flag=1:0:2/255 list=TTL_decrement_by_%
        target HL 0 8 6 need
         hl-set u8@1 flag=1:0:0/255 list=HL_set_to_%
         hl-inc u8@1 flag=1:0:1/255 list=HL_increment_by_%
         hl-dec u8@1 flag=1:0:2/255 list=HL_decrement_by_%
        target DSCP 0 8
         set-dscp hex8@0 always must list=DSCP_set_%
        target NFQUEUE 3 8 init=01@2 list=NFQUEUE
         queue-num u16@0 always list=num_%
         queue-bypass flag@0 flag=2:4:1 list=bypass
        target TRACE 0 0
        """

    /// Values by name: LIST NAME=NUMBER ..., in the order of printing; a name that comes again is another word for the number.
    static let names: StaticString = """
        ctstate INVALID=1 NEW=8 RELATED=4 ESTABLISHED=2 UNTRACKED=256 SNAT=64 DNAT=128
        state INVALID=1 NEW=8 RELATED=4 ESTABLISHED=2 UNTRACKED=256
        ctstatus EXPECTED=1 SEEN_REPLY=2 ASSURED=4 CONFIRMED=8
        addrtype UNSPEC=1 UNICAST=2 LOCAL=4 BROADCAST=8 ANYCAST=16 MULTICAST=32 BLACKHOLE=64 UNREACHABLE=128 PROHIBIT=256 THROW=512 NAT=1024 XRESOLVE=2048
        statistic random=0 nth=1
        pkttype unicast=0 broadcast=1 multicast=2 host=0
        reject4 icmp-net-unreachable=0 icmp-host-unreachable=1 icmp-proto-unreachable=2 icmp-port-unreachable=3 icmp-net-prohibited=5 icmp-host-prohibited=6 tcp-reset=7 icmp-admin-prohibited=8 net-unreach=0 host-unreach=1 proto-unreach=2 port-unreach=3 net-prohib=5 host-prohib=6 tcp-rst=7 admin-prohib=8
        reject6 icmp6-no-route=0 icmp6-adm-prohibited=1 icmp6-addr-unreachable=3 icmp6-port-unreachable=4 tcp-reset=6 icmp6-policy-fail=7 icmp6-reject-route=8 no-route=0 adm-prohibited=1 addr-unreach=3 port-unreach=4 policy-fail=7 reject-route=8
        ctevents new=1 related=2 destroy=4 reply=8 assured=16 protoinfo=32 helper=64 mark=128 natseqinfo=256 secmark=512
        expevents new=1
        tcpflags FIN=1 SYN=2 RST=4 PSH=8 ACK=16 URG=32
        loglevel emerg=0 alert=1 crit=2 error=3 warning=4 notice=5 info=6 debug=7 panic=0 err=3 warn=4
        dscpclass CS0=0 CS1=8 CS2=16 CS3=24 CS4=32 CS5=40 CS6=48 CS7=56 BE=0 AF11=10 AF12=12 AF13=14 AF21=18 AF22=20 AF23=22 AF31=26 AF32=28 AF33=30 AF41=34 AF42=36 AF43=38 EF=46
        icmp4 any=65535 echo-reply=255 destination-unreachable=1023 network-unreachable=768 host-unreachable=769 protocol-unreachable=770 port-unreachable=771 fragmentation-needed=772 source-route-failed=773 network-unknown=774 host-unknown=775 network-prohibited=777 host-prohibited=778 TOS-network-unreachable=779 TOS-host-unreachable=780 communication-prohibited=781 host-precedence-violation=782 precedence-cutoff=783 source-quench=1279 redirect=1535 network-redirect=1280 host-redirect=1281 TOS-network-redirect=1282 TOS-host-redirect=1283 echo-request=2303 router-advertisement=2559 router-solicitation=2815 time-exceeded=3071 ttl-zero-during-transit=2816 ttl-zero-during-reassembly=2817 parameter-problem=3327 ip-header-bad=3072 required-option-missing=3073 timestamp-request=3583 timestamp-reply=3839 address-mask-request=4607 address-mask-reply=4863 pong=255 ping=2303 ttl-exceeded=3071
        icmp6 destination-unreachable=511 no-route=256 communication-prohibited=257 beyond-scope=258 address-unreachable=259 port-unreachable=260 failed-policy=261 reject-route=262 packet-too-big=767 time-exceeded=1023 ttl-zero-during-transit=768 ttl-zero-during-reassembly=769 parameter-problem=1279 bad-header=1024 unknown-header-type=1025 unknown-option=1026 echo-request=33023 echo-reply=33279 router-solicitation=34303 router-advertisement=34559 neighbour-solicitation=34815 neighbour-advertisement=35071 redirect=35327 ttl-exceeded=1023 neighbor-solicitation=34815 neighbor-advertisement=35071
        """
}
