#!/bin/bash
# queries.sh [POLICY]: what the policy must not allow, asked of the distribution's policy with our module in it
# (sesearch, seinfo; no kernel with SELinux is needed).  Without POLICY it links build/selinux/opampd.pp into a
# copy of the installed policy (selinux-policy-default).  TAP; the last line says how it went.
#
# Rules under a boolean count as allowed, whatever the boolean says, unless a test names the boolean.
set -eu
cd "$(dirname "$0")/../.."
O=${O:-build}
policy=${1:-}
store=${STORE:-default}

parent=opampd_t
children='opampd_netd_t opampd_connect_t opampd_link_t opampd_confd_t opampd_merge_t opampd_procd_t'
agent=opampd_agent_t
hub='opamphub_t opamphub_front_t opamphub_store_t'
daemons="$parent $children $hub"
ours="$daemons $agent opampctl_t"
state='opampd_var_lib_t opampd_agent_conf_t'

link_policy() {
	local root=$O/selinux/root

	rm -rf "$root"
	mkdir -p "$root/var/lib/selinux" "$root/etc/selinux"
	cp -a "/var/lib/selinux/$store" "$root/var/lib/selinux/"
	cp -a "/etc/selinux/$store" /etc/selinux/semanage.conf "$root/etc/selinux/"
	semodule -p "$root" -s "$store" -n -i "$O/selinux/opampd.pp" 2>"$O/selinux/semodule.log" || {
		cat "$O/selinux/semodule.log"
		exit 1
	}
	policy=$(echo "$root/etc/selinux/$store/policy/policy".*)
}

count=0 failed=0
# result NAME GOT WANTED
result() {
	count=$((count + 1))
	if [ "$2" = "$3" ]; then
		echo "ok $count - $1"
	else
		failed=$((failed + 1))
		echo "not ok $count - $1"
		printf '%s\n' "wanted: ${3:-nothing}" "got: ${2:-nothing}" | sed 's/^/# /'
	fi
}

# The rules about our domains, once: a question to the whole policy takes a second.  "SOURCE TARGET CLASS
# PERMISSIONS", and the boolean where there is one; attributes are taken apart, so that each name is a type.
rules=$(mktemp)
members=$(mktemp)
trap 'rm -f "$rules" "$members"' EXIT
gather() {
	local d

	for d in $ours; do
		sesearch -A -s "$d" "$policy" | awk -v d="$d" '{ $2 = d; print }'
		sesearch -A -t "$d" -c process -p transition,dyntransition "$policy"
	done
}
types_of_ours() {
	seinfo "$policy" -t | awk '$1 ~ /^(opamp|opampctl).*_t$/ { print $1 }'
}
expand() {
	seinfo -a -x "$policy" | awk '
		$1 == "attribute" { a = $2; sub(/;$/, "", a); next }
		NF == 1 && a != "" { print a, $1 }' >"$members"
	gather | sed 's/[{};]/ /g; s/:/ /' | awk -v members="$members" '
		BEGIN { while ((getline line < members) > 0) { split(line, m, " "); of[m[1]] = of[m[1]] " " m[2] } }
		$1 == "allow" {
			rest = ""
			for (i = 4; i <= NF; i++) rest = rest " " $i
			ns = split($2 in of ? of[$2] : $2, s, " ")
			nt = split($3 in of ? of[$3] : $3, t, " ")
			for (i = 1; i <= ns; i++) for (j = 1; j <= nt; j++)
				print s[i], t[j] == "self" ? s[i] : t[j], rest
		}' | sort -u >"$rules"
}

# who SOURCES TARGETS CLASSES PERMISSIONS: the rules with any of each ("*": all), as "source target class
# permissions".  Words are regular expressions.
who() {
	awk -v s="^(${1// /|})\$" -v t="^(${2// /|})\$" -v c="^(${3// /|})\$" -v p="^(${4// /|})\$" '
		$1 ~ s && $2 ~ t && $3 ~ c {
			found = ""
			for (i = 4; i <= NF && $i !~ /^\[/; i++) if ($i ~ p) found = found " " $i
			if (found != "") print $1, $2, $3 found, (i <= NF ? $(i + 1) : "")
		}' "$rules" | sed 's/ *$//' | sort -u
}
sources() { who "$@" | cut -d' ' -f1 | sort -u | tr '\n' ' ' | sed 's/ $//'; }
targets() { who "$@" | cut -d' ' -f2 | sort -u | tr '\n' ' ' | sed 's/ $//'; }
sorted() { tr ' ' '\n' <<<"$1" | sort -u | tr '\n' ' ' | sed 's/ $//'; }
none() { result "$1" "$(who "$2" "$3" "$4" "$5")" ''; }

all='.*'
files='file lnk_file sock_file fifo_file chr_file blk_file'
network='tcp_socket udp_socket rawip_socket packet_socket sctp_socket dccp_socket icmp_socket netlink_.*socket vsock_socket .*alg_socket bluetooth_socket'
used='create bind connect listen accept read write append getattr getopt setopt shutdown name_bind name_connect node_bind nlmsg.*'
changing='write append create setattr link unlink rename relabelto relabelfrom'
dir_changing='write add_name remove_name create setattr rename reparent rmdir relabelto relabelfrom'

if [ -z "$policy" ]; then link_policy; fi
expand
echo "# $(wc -l <"$rules") rules about our types in $policy"

# ---- none of ours is beyond the policy
result 'every domain is there' "$(seinfo -a domain -x "$policy" | awk '$1 ~ /^opamp/ { print $1 }' | sort | tr '\n' ' ' | sed 's/ $//')" \
	"$(sorted "$ours")"
result 'none is unconfined' "$(grep -E 'unconfined[^ ]* opamp' "$members" || true)" ''
result 'none is permissive' "$(seinfo "$policy" --permissive | grep opamp || true)" ''

# ---- who gets into which domain, and only by exec
result 'the parent is started by init and init scripts' "$(sources "$all" opampd_t process 'transition')" 'init_t initrc_t'
for d in $children; do
	result "$d is entered from the parent alone" "$(sources "$all" "$d" process transition)" opampd_t
done
result "the agent's domain is entered from the parent alone, not from procd" \
	"$(sources "$all" opampd_agent_t process transition)" opampd_t
for d in opamphub_front_t opamphub_store_t; do
	result "$d is entered from opamphub alone" "$(sources "$all" "$d" process transition)" opamphub_t
done
result 'opampctl is entered by administrators and services' \
	"$(sources "$all" opampctl_t process transition)" 'init_t sysadm_t unconfined_t'
none 'no domain is entered without exec' "$all" "$ours" process dyntransition
for d in $ours; do
	n=${d%_t}_exec_t
	case $d in
	opampd_agent_t) want='bin_t opampd_agent_exec_t' ;;
	*) want=$n ;;
	esac
	result "$d has its own program alone" "$(targets "$d" "$all" file entrypoint)" "$want"
done
none 'no child, agent or command of ours leaves its domain' "$children $agent opamphub_front_t opamphub_store_t opampctl_t" "$all" process transition
none 'no process that reads foreign bytes executes a program' "$children opamphub_front_t opamphub_store_t opampctl_t" "$all" file execute_no_trans
# an upgrade of opampd; that nobody of ours changes the file is asked below
result 'the parent executes in its own domain what takes its place, and nothing else' \
	"$(who "$parent" "$all" file execute_no_trans)" 'opampd_t opampd_exec_t file execute_no_trans'
none 'nobody else but the agent with its boolean executes in its own domain' "$hub" "$all" file execute_no_trans
result 'the agent does with opampd_agent_exec alone' \
	"$(who opampd_agent_t "$all" file execute_no_trans | awk '{ print $NF }' | sort -u)" opampd_agent_exec

# ---- no domain may write what another executes
executed=$(targets "$ours" "$all" file 'execute|entrypoint')
result 'what they execute has each program of ours' \
	"$(for d in $ours; do grep -qw "${d%_t}_exec_t" <<<"$executed" || echo "no ${d%_t}_exec_t"; done)" ''
none 'nobody of ours changes what one of ours executes' "$ours" "$executed" file "$changing"
programs=$(types_of_ours | grep _exec_t | sort | tr '\n' ' ')
result 'and a type each' "${programs% }" "$(sorted "$(for d in $ours; do echo "${d%_t}_exec_t"; done)")"
none 'nobody of ours changes its directories' "$ours" 'bin_t lib_t usr_t ld_so_t root_t' dir "$dir_changing"
none 'nobody of ours changes a program of ours' "$ours" "${programs% }" file "$changing"
none 'nobody of ours executes what it made or was handed' "$ours" \
	"$state opampd_agent_var_lib_t opampd_log_t opampd_runtime_t opampd_etc_t opamph?[a-z_]*_tmpfs_t opamphub_var_lib_t opamphub_etc_t" \
	file 'execute execmod entrypoint'
result 'nobody executes memory that was written, but an agent with its boolean' \
	"$(who "$ours" "$all" process 'execmem execstack execheap')" 'opampd_agent_t opampd_agent_t process execmem opampd_agent_execmem'
none 'nobody of ours changes settings' "$ours" 'opampd_etc_t opamphub_etc_t' "$files" "$changing"
none 'nobody of ours changes units' "$ours" '(opampd|opamphub)_unit_t' "$files" "$changing"

# ---- state, log, settings
result 'confd alone opens files of the state, and the agent its configuration' "$(sources "$daemons" opampd_var_lib_t "$files" 'open create')" opampd_confd_t
result 'confd alone changes files of the state' "$(sources "$ours" "$state" "$files" "$changing")" opampd_confd_t
none 'netd cannot read the state' opampd_netd_t "$state opampd_agent_var_lib_t" "$all" "$all"
none 'link, merge, connect and procd cannot either' 'opampd_link_t opampd_merge_t opampd_connect_t opampd_procd_t' \
	"$state opampd_agent_var_lib_t" "$all" "$all"
none 'the parent reads no file of the state' opampd_t "$state" file 'read open'
result 'the agent reads its configuration, and no other state but with opampd_agent_read_files' \
	"$(who opampd_agent_t "$state" file read)" \
	"$(printf '%s\n' 'opampd_agent_t opampd_agent_conf_t file read' \
		'opampd_agent_t opampd_agent_conf_t file read opampd_agent_read_files' \
		'opampd_agent_t opampd_var_lib_t file read opampd_agent_read_files')"
none 'the agent changes no state' opampd_agent_t "$state" "$files dir" "$changing $dir_changing"
result 'link appends to the log, and can do no more' "$(who opampd_link_t opampd_log_t "$all" "$all")" \
	'opampd_link_t opampd_log_t file append getattr'
result 'the parent makes and rotates the log' "$(sources "$ours" opampd_log_t "$files dir" 'create unlink rename remove_name')" opampd_t
for d in opampd_netd_t opampd_link_t opampd_confd_t opampd_merge_t opampd_procd_t opamphub_front_t; do
	beyond=$(who "$d" "$all" "$files dir" open | cut -d' ' -f2 | sort -u | comm -23 - <(
		{
			sesearch -A -s domain -ds -p open "$policy" | sed 's/:.*//' | awk '{ print $3 }'
			echo "${d%_t}_exec_t"
			echo "$d"
			echo tmpfs_t
			if [ "$d" = opampd_confd_t ]; then tr ' ' '\n' <<<"$state"; fi
		} | sort -u) | tr '\n' ' ')
	result "$d opens no file but those that every domain may, its program$(if [ "$d" = opampd_confd_t ]; then echo ' and its state'; fi)" "$beyond" ''
done
none 'front cannot reach the store' opamphub_front_t opamphub_var_lib_t "$all" "$all"
result 'opamphub-store alone reads and changes the store' "$(sources "$daemons opampctl_t" opamphub_var_lib_t file "open read $changing")" opamphub_store_t
none 'opampd and opamphub have nothing of each other' "$parent $children opampd_agent_t" \
	'opamphub_etc_t opamphub_tmpfs_t opamphub_t opamphub_front_t opamphub_store_t' "$files process unix_stream_socket" \
	'write create signal sigkill ptrace connectto'

# ---- sockets
for d in opampd_netd_t opampd_link_t opampd_confd_t opampd_merge_t opampd_procd_t opamphub_front_t opamphub_store_t; do
	none "$d cannot make a network socket" "$d" "$all" "$network" 'create bind connect listen name_bind name_connect node_bind'
done
result 'confd uses no network socket at all' "$(who opampd_confd_t "$all" "$network" "$used")" ''
result 'merge uses none either' "$(who opampd_merge_t "$all" "$network" "$used")" ''
result 'procd uses none either' "$(who opampd_procd_t "$all" "$network" "$used")" ''
none 'netd cannot listen or accept' opampd_netd_t "$all" "$network" 'accept listen'
result 'netd uses connections of connect, and no other network socket' "$(targets opampd_netd_t "$all" "$network" "$used")" opampd_connect_t
none 'the parent connects to nobody' opampd_t "$all" "$network" 'connect name_connect'
none 'opamphub connects to nobody' "$hub" "$all" "$network" 'connect name_connect'
none 'connect cannot listen' opampd_connect_t "$all" "$network" 'bind listen accept name_bind node_bind'
none 'connect reaches no state, settings, log or control socket' opampd_connect_t \
	"$state opampd_etc_t opampd_log_t opampd_runtime_t opampd_agent_var_lib_t" "$all" "$all"
result 'opampctl uses the control socket, and no child or agent does' \
	"$(sources "$ours" opampd_t unix_stream_socket connectto)" opampctl_t
none 'the control socket is out of reach for children and agent' "$children $agent" opampd_runtime_t sock_file "$all"

# ---- processes
result 'procd and the parent signal the agent' "$(sources "$daemons opampctl_t" opampd_agent_t process 'signal sigkill sigstop')" \
	'opampd_procd_t opampd_t'
none 'procd signals nobody else' opampd_procd_t "$daemons" process 'signal sigkill sigstop ptrace'
none 'no other child signals anybody of ours' 'opampd_netd_t opampd_link_t opampd_confd_t opampd_merge_t opampd_connect_t opamphub_front_t opamphub_store_t' \
	"$ours" process 'signal sigkill sigstop ptrace'
none 'the agent signals nobody of ours' opampd_agent_t "$daemons" process 'signal sigkill sigstop signull ptrace'
none 'nobody of ours traces anybody' "$ours" "$all" process ptrace
result 'the agent sees nothing of ours in /proc but with opampd_agent_read_processes' \
	"$(who opampd_agent_t "$daemons" 'file dir lnk_file' 'read search open' | awk '{ print $NF }' | sort -u)" opampd_agent_read_processes
result 'no child sees another process in /proc' \
	"$(who "$children opamphub_front_t opamphub_store_t" "$ours" 'file dir lnk_file' 'read search open' | awk '$1 != $2')" ''
none 'nobody loads a policy, modules or switches SELinux off' "$ours" "$all" 'security system' \
	'load_policy setenforce setbool module_load module_request'
result 'no capability over modules, devices, the clock, roots, labels or audit' \
	"$(who "$ours" "$all" 'capability capability2' 'sys_module sys_rawio sys_boot sys_time sys_chroot mknod mac_admin mac_override linux_immutable audit_control audit_write setfcap')" ''

# ---- other modules: that of opampd_selinux(8), with a domain that calls each interface as the page has it
page=doc/opampd_selinux.8
interfaces=$(sed -n '/^\.Sh INTERFACES/,/^\.Sh DIAG/s/^\.Fn \([a-z_ ]*[a-z]\)\( [,.]\)*$/\1/p' "$page")
result 'the interfaces that are installed are those that the page names' "$(sed -n "s/^[a-z]*(\`\([a-z_]*\)',\`$/\1/p" selinux/opampd.if | sort)" \
	"$(cut -d' ' -f1 <<<"$interfaces" | sort)"
other=$O/selinux-other # not below the module: that would be one of its layers
make_other() {
	local name arguments

	rm -rf "$other"
	mkdir -p "$other"
	cp selinux/opampd.if "$other/fluentbit.if" # as if it were among the headers
	{
		sed -n '/^policy_module/,/^\.Ed/p' "$page" | sed '$d'
		printf '%s\n' 'gen_require(`role system_r;'\'')' 'type caller_t;' 'domain_type(caller_t)'
		while read -r name arguments; do
			case $arguments in 'domain type') continue ;; esac # the example has it
			echo "$name($(sed 's/domain/caller_t/; s/ role/, system_r/' <<<"$arguments"))"
		done <<<"$interfaces"
	} >"$other/fluentbit.te"
	make -s -C "$other" -f /usr/share/selinux/devel/Makefile fluentbit.pp &&
		semodule -p "$O/selinux/root" -s "$store" -n -i "$other/fluentbit.pp"
}
may() { sesearch -A -s "$1" -t "$2" -c "$3" -p "$4" "$policy" | wc -l; }
if [ -z "${1:-}" ]; then
	make_other >"$O/selinux-other.log" 2>&1 || cat "$O/selinux-other.log"
	result "an agent in a domain of its own: opampd executes its program in it" \
		"$(sesearch -T -s opampd_t -t fluentbit_exec_t -c process "$policy"; may opampd_t fluentbit_t process transition)" \
		"$(printf '%s\n' 'type_transition opampd_t fluentbit_exec_t:process fluentbit_t;' 1)"
	result 'and it has what every agent needs, but not the network' \
		"$(may fluentbit_t opampd_agent_conf_t file read) $(may fluentbit_t port_type tcp_socket name_connect)" '1 0'
	result 'opampd_run_ctl, opampd_domtrans_ctl' "$(may caller_t opampctl_t process transition)" 1
	result 'opampd_stream_connect' "$(may caller_t opampd_t unix_stream_socket connectto)" 1
	result 'opampd_read_log, opampd_read_config' "$(may caller_t opampd_log_t file read) $(may caller_t opampd_etc_t file read)" '1 1'
	result 'opampd_admin, opamphub_admin' "$(may caller_t opampd_unit_t service start) $(may caller_t opamphub_unit_t service start) $(may caller_t opamphub_var_lib_t file write)" '1 1 1'
fi

[ -z "${RESULTS:-}" ] || echo "$((count - failed)) $failed 0 selinux" >>"$RESULTS"
echo "1..$count"
if [ "$failed" -ne 0 ]; then
	echo "# $failed of $count failed"
	exit 1
fi
echo "# $count passed"
