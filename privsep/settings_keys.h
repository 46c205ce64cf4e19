/*
 * settings_keys.h: every key of opampd.yaml.  Included by settings.h only.
 * SETTING(id, name, type, min, max, words, default, required, processes, meaning)
 * Keys without a mark in `meaning` are opampsupervisor's, with its meaning.
 */
#ifndef PRIVSEP_SETTINGS_KEYS_H
#define PRIVSEP_SETTINGS_KEYS_H

/* clang-format off: a table */
#define DAY_MS  86400000
#define NOT_YET "opampd does not have this yet: remove the line"

#define SETTING_TABLE                                                                              \
	/* ---- the server */                                                                      \
	SETTING(ENDPOINT, "server.endpoint", SETTING_URL, 0, 2048, "ws|wss", NULL, 1,              \
	    P(NETD) | P(CONNECT) | P(CONFD) | P(PARENT),                                           \
	    "where the OpAMP server is: ws:// or wss:// URL; default port 4320, default path "     \
	    "/v1/opamp")                                                                           \
	SETTING(HEADERS, "server.headers", SETTING_HEADERS, 0, 8192, NULL, NULL, 0, P(NETD),       \
	    "headers of the request that opens the connection, such as Authorization")             \
	SETTING(CA_FILE, "server.tls.ca_file", SETTING_PATH, 0, 4096, NULL, NULL, 0,               \
	    P(NETD) | P(PARENT),                                                                   \
	    "file with the certificate authorities (PEM) that may vouch for the server")           \
	SETTING(CA_PEM, "server.tls.ca_pem", SETTING_STRING, 0, LIMIT_SETTINGS_VALUE, NULL, NULL,  \
	    0, P(NETD), "ca_file's content as text")                                               \
	SETTING(SYSTEM_CA, "server.tls.include_system_ca_certs_pool", SETTING_BOOL, 0, 1, NULL,    \
	    "false", 0, P(NETD) | P(PARENT),                                                       \
	    "the host's authorities too, beside ca_file or ca_pem")                                \
	SETTING(CERT_FILE, "server.tls.cert_file", SETTING_PATH, 0, 4096, NULL, NULL, 0,           \
	    P(NETD) | P(PARENT), "client certificate (PEM)")                                       \
	SETTING(CERT_PEM, "server.tls.cert_pem", SETTING_STRING, 0, LIMIT_SETTINGS_VALUE, NULL,    \
	    NULL, 0, P(NETD), "cert_file's content as text")                                       \
	SETTING(KEY_FILE, "server.tls.key_file", SETTING_PATH, 0, 4096, NULL, NULL, 0,             \
	    P(NETD) | P(PARENT), "private key of the client certificate (PEM)")                    \
	SETTING(KEY_PEM, "server.tls.key_pem", SETTING_STRING, 0, LIMIT_SETTINGS_VALUE, NULL,      \
	    NULL, 0, P(NETD), "key_file's content as text")                                        \
	SETTING(TLS_MIN, "server.tls.min_version", SETTING_ENUM, 0, 0, "1.2|1.3", "1.2", 0,        \
	    P(NETD), "oldest TLS version accepted; 1.0 and 1.1 are not offered")                   \
	SETTING(TLS_MAX, "server.tls.max_version", SETTING_ENUM, 0, 0, "1.2|1.3", "1.3", 0,        \
	    P(NETD), "newest TLS version used")                                                    \
	SETTING(TLS_INSECURE, "server.tls.insecure", SETTING_BOOL, 0, 1, NULL, "false", 0,         \
	    P(NETD), "has no effect, as in opampsupervisor: the URL's scheme decides")             \
	SETTING(TLS_SKIP_VERIFY, "server.tls.insecure_skip_verify", SETTING_BOOL, 0, 1, NULL,      \
	    "false", 0, P(NETD),                                                                   \
	    "do not check who the server is: for laboratories; said loudly at each start")         \
	SETTING(TLS_SERVER_NAME, "server.tls.server_name_override", SETTING_STRING, 0, 253, NULL,  \
	    NULL, 0, P(NETD),                                                                      \
	    "the name the server's certificate must have, in place of the URL's host")             \
	SETTING(TLS_CIPHERS, "server.tls.cipher_suites", SETTING_REFUSED, 0, 0, NULL, NULL, 0, 0,  \
	    "OpenSSL's secure list is used: remove the line")                                      \
	SETTING(TLS_CURVES, "server.tls.curve_preferences", SETTING_REFUSED, 0, 0, NULL, NULL, 0,  \
	    0, "OpenSSL's list is used: remove the line")                                          \
	SETTING(TLS_RELOAD, "server.tls.reload_interval", SETTING_REFUSED, 0, 0, NULL, NULL, 0, 0, \
	    "send SIGHUP (opampctl reload) when certificate files have changed: remove the line")  \
	SETTING(TLS_TPM, "server.tls.tpm", SETTING_REFUSED, 0, 0, NULL, NULL, 0, 0, NOT_YET)       \
	SETTING(AUTH, "server.auth", SETTING_REFUSED, 0, 0, NULL, NULL, 0, 0,                      \
	    "opampd has no auth extensions: write server.headers, and remove the line")            \
	SETTING(HEARTBEAT, "server.heartbeat_interval", SETTING_DURATION, 1000, DAY_MS, NULL,      \
	    "30s", 0, P(NETD),                                                                     \
	    "own key: a message at least this often, counted from the last one sent")              \
	SETTING(PING, "server.ping_interval", SETTING_DURATION, 0, DAY_MS, NULL, "1m", 0, P(NETD), \
	    "own key: WebSocket ping when nothing was received for so long; no pong in as much "   \
	    "time again is a dead connection; 0 = never")                                          \
	SETTING(RESPONSE_TIMEOUT, "server.response_timeout", SETTING_DURATION, 1000, DAY_MS, NULL, \
	    "1m", 0, P(NETD),                                                                      \
	    "own key: a report without an answer for so long is a dead connection")                \
	SETTING(CONNECT_TIMEOUT, "server.connect_timeout", SETTING_DURATION, 100, 600000, NULL,    \
	    "30s", 0, P(NETD) | P(CONNECT) | P(PARENT),                                            \
	    "own key: name, connection, TLS and upgrade, each within this time")                   \
	SETTING(RECONNECT_MIN, "server.reconnect.initial_delay", SETTING_DURATION, 10, DAY_MS,     \
	    NULL, "1s", 0, P(NETD),                                                                \
	    "own key: first wait after a failed attempt; doubles, with full jitter")               \
	SETTING(RECONNECT_MAX, "server.reconnect.max_delay", SETTING_DURATION, 10, DAY_MS, NULL,   \
	    "5m", 0, P(NETD),                                                                      \
	    "own key: longest wait; after HTTP 401 and 403, which only an operator can mend, the " \
	    "first wait is half of it at least")                                                   \
	SETTING(RECONNECT_STABLE, "server.reconnect.stable_after", SETTING_DURATION, 0, DAY_MS,    \
	    NULL, "30s", 0, P(NETD), "own key: a connection that lived so long resets the wait")   \
	/* ---- what is announced */                                                               \
	SETTING(ACCEPTS_CONFIG, "capabilities.accepts_remote_config", SETTING_BOOL, 0, 1, NULL,    \
	    "false", 0, P(NETD) | P(CONFD) | P(PARENT), "take configurations from the server")     \
	SETTING(ACCEPTS_RESTART, "capabilities.accepts_restart_command", SETTING_BOOL, 0, 1, NULL, \
	    "false", 0, P(NETD) | P(CONFD), "let the server restart the agent")                    \
	SETTING(ACCEPTS_CONNECTION, "capabilities.accepts_opamp_connection_settings",              \
	    SETTING_FALSE, 0, 1, NULL, "false", 0, P(NETD), NOT_YET)                               \
	SETTING(REPORTS_EFFECTIVE, "capabilities.reports_effective_config", SETTING_BOOL, 0, 1,    \
	    NULL, "true", 0, P(NETD) | P(CONFD), "show the server what the agent runs")            \
	SETTING(REPORTS_OWN_METRICS, "capabilities.reports_own_metrics", SETTING_FALSE, 0, 1,      \
	    NULL, "false", 0, P(NETD), NOT_YET)                                                    \
	SETTING(REPORTS_OWN_LOGS, "capabilities.reports_own_logs", SETTING_FALSE, 0, 1, NULL,      \
	    "false", 0, P(NETD), NOT_YET)                                                          \
	SETTING(REPORTS_OWN_TRACES, "capabilities.reports_own_traces", SETTING_FALSE, 0, 1, NULL,  \
	    "false", 0, P(NETD), NOT_YET)                                                          \
	SETTING(REPORTS_HEALTH, "capabilities.reports_health", SETTING_BOOL, 0, 1, NULL, "true",   \
	    0, P(NETD) | P(CONFD), "tell the server how the agent is")                             \
	SETTING(REPORTS_CONFIG, "capabilities.reports_remote_config", SETTING_BOOL, 0, 1, NULL,    \
	    "false", 0, P(NETD) | P(CONFD), "tell the server what became of its configuration")    \
	SETTING(REPORTS_COMPONENTS, "capabilities.reports_available_components", SETTING_FALSE, 0, \
	    1, NULL, "false", 0, P(NETD), NOT_YET)                                                 \
	SETTING(REPORTS_HEARTBEAT, "capabilities.reports_heartbeat", SETTING_BOOL, 0, 1, NULL,     \
	    "true", 0, P(NETD), "send a message now and then, also with nothing to say")           \
	SETTING(ACCEPTS_PACKAGES, "capabilities.accepts_packages", SETTING_FALSE, 0, 1, NULL,      \
	    "false", 0, P(NETD), NOT_YET)                                                          \
	/* ---- the agent */                                                                       \
	SETTING(AGENT_TYPE, "agent.type", SETTING_ENUM, 0, 0, "collector|generic", "collector", 0, \
	    P(PARENT) | P(NETD) | P(LINK) | P(CONFD) | P(PROCD) | P(MERGE),                        \
	    "own key: what kind of agent it is")                                                   \
	SETTING(EXECUTABLE, "agent.executable", SETTING_PATH, 0, 4096, NULL, NULL, 1,              \
	    P(PARENT) | P(NETD),                                                                   \
	    "the agent's program; as root it and every directory above it must be root's")         \
	SETTING(ARGS, "agent.args", SETTING_LIST, 0, 4096, NULL, NULL, 0, P(PARENT),               \
	    "more arguments; generic agents: all of them, with ${config} for the configuration "   \
	    "file")                                                                                \
	SETTING(ENV, "agent.env", SETTING_MAP, 0, 8192, NULL, NULL, 0, P(PARENT),                  \
	    "the agent's whole environment: nothing of opampd's is passed on")                     \
	SETTING(RUN_AS, "agent.run_as", SETTING_USER, 0, 64, NULL, "_opampd_agent", 0, P(PARENT),  \
	    "own key: the agent's user; not root, none of opampd's own; ignored when opampd was "  \
	    "started by an ordinary "                                                              \
	    "user")                                                                                \
	SETTING(GROUPS, "agent.groups", SETTING_LIST, 0, 64, NULL, NULL, 0, P(PARENT),             \
	    "own key: further groups, such as adm or systemd-journal, to read logs")               \
	SETTING(CAPABILITIES, "agent.capabilities", SETTING_LIST, 0, 64, NULL, NULL, 0, P(PARENT), \
	    "own key: capabilities the agent keeps, such as CAP_NET_BIND_SERVICE; root only")      \
	SETTING(SANDBOX, "agent.sandbox", SETTING_ENUM, 0, 0, "off|standard|strict", "standard",   \
	    0, P(PARENT) | P(CONFD), "own key: what the agent may do")                             \
	SETTING(STRICT_READ, "agent.strict.read", SETTING_LIST, 0, 4096, NULL, NULL, 0, P(PARENT), \
	    "own key: with sandbox strict, paths it may read")                                     \
	SETTING(STRICT_WRITE, "agent.strict.write", SETTING_LIST, 0, 4096, NULL, NULL, 0,          \
	    P(PARENT),                                                                             \
	    "own key: with sandbox standard or strict, paths it may write beside its own "         \
	    "directory")                                                                           \
	SETTING(STRICT_EXECUTE, "agent.strict.execute", SETTING_LIST, 0, 4096, NULL, NULL, 0,      \
	    P(PARENT), "own key: with sandbox strict, further programs it may execute")            \
	SETTING(STRICT_BIND, "agent.strict.bind", SETTING_LIST, 0, 5, NULL, NULL, 0, P(PARENT),    \
	    "own key: with sandbox strict, TCP ports it may listen on")                            \
	SETTING(STRICT_CONNECT, "agent.strict.connect", SETTING_LIST, 0, 5, NULL, NULL, 0,         \
	    P(PARENT), "own key: with sandbox strict, TCP ports it may connect to")                \
	SETTING(LIMIT_MEMORY, "agent.limits.memory", SETTING_SIZE, 1048576, 1ull << 50, NULL,      \
	    NULL, 0, P(PARENT),                                                                    \
	    "own key: memory.max of its cgroup, where there is one with that controller")          \
	SETTING(LIMIT_PROCESSES, "agent.limits.processes", SETTING_INT, 1, 1000000, NULL, NULL, 0, \
	    P(PARENT), "own key: RLIMIT_NPROC and pids.max")                                       \
	SETTING(LIMIT_FILES, "agent.limits.open_files", SETTING_INT, 16, 10000000, NULL, NULL, 0,  \
	    P(PARENT), "own key: RLIMIT_NOFILE")                                                   \
	SETTING(LIMIT_DATA, "agent.limits.data", SETTING_SIZE, 1048576, 1ull << 50, NULL, NULL, 0, \
	    P(PARENT), "own key: RLIMIT_DATA")                                                     \
	SETTING(WORK_DIR, "agent.working_directory", SETTING_PATH, 0, 4096, NULL, NULL, 0,         \
	    P(PARENT),                                                                             \
	    "own key: where it starts and may write; default /var/lib/opampd-agent, or "           \
	    "storage.directory/work for an ordinary user")                                         \
	SETTING(INSTANCE_ID, "agent.instance_id", SETTING_STRING, 36, 36, NULL, NULL, 0, P(CONFD), \
	    "UUID to use when none is stored yet; otherwise a UUIDv7 is made")                     \
	SETTING(ID_ATTRIBUTES, "agent.description.identifying_attributes", SETTING_MAP, 0, 4096,   \
	    NULL, NULL, 0, P(NETD) | P(CONFD), "override or add to what identifies the agent")     \
	SETTING(OTHER_ATTRIBUTES, "agent.description.non_identifying_attributes", SETTING_MAP, 0,  \
	    4096, NULL, NULL, 0, P(NETD) | P(CONFD),                                               \
	    "override or add to what describes the agent")                                         \
	SETTING(APPLY_TIMEOUT, "agent.config_apply_timeout", SETTING_DURATION, 100, DAY_MS, NULL,  \
	    "30s", 0, P(CONFD), "longest time for a new configuration to become healthy")          \
	SETTING(SETTLING, "agent.settling_time", SETTING_DURATION, 0, DAY_MS, NULL, "2s", 0,       \
	    P(CONFD),                                                                              \
	    "own key: a new configuration must stay healthy for so long before it is kept")        \
	SETTING(BOOTSTRAP_TIMEOUT, "agent.bootstrap_timeout", SETTING_DURATION, 100, 600000, NULL, \
	    "10s", 0, P(CONFD) | P(PROCD),                                                         \
	    "longest time for asking the agent's program what it can do")                          \
	SETTING(LINK_PORT, "agent.opamp_server_port", SETTING_INT, 0, 65535, NULL, "0", 0,         \
	    P(PARENT), "loopback port for the Collector's opamp extension; 0 = any free one")      \
	SETTING(PASSTHROUGH, "agent.passthrough_logs", SETTING_BOOL, 0, 1, NULL, "false", 0,       \
	    P(LINK), "the agent's output also goes to opampd's log, with its level")               \
	SETTING(USE_HUP, "agent.use_hup_config_reload", SETTING_BOOL, 0, 1, NULL, "false", 0,      \
	    P(CONFD),                                                                              \
	    "reload by signal in place of a restart, once the agent's own check has passed it")    \
	SETTING(VALIDATE, "agent.validate_config", SETTING_BOOL, 0, 1, NULL, "true", 0, P(CONFD),  \
	    "let the agent's own check see a configuration before it runs")                        \
	SETTING(VALIDATE_TIMEOUT, "agent.validate_timeout", SETTING_DURATION, 100, 600000, NULL,   \
	    "20s", 0, P(PROCD) | P(CONFD), "own key: longest time for that check")                 \
	SETTING(CONFIG_FILES, "agent.config_files", SETTING_LIST, 0, 4096, NULL, NULL, 0,          \
	    P(PARENT) | P(CONFD),                                                                  \
	    "local files, and $REMOTE_CONFIG, $OPAMP_EXTENSION_CONFIG, $OWN_TELEMETRY_CONFIG for " \
	    "their places")                                                                        \
	SETTING(CONFIG_NAME, "agent.config_name", SETTING_STRING, 1, 64, NULL, "effective.yaml",   \
	    0, P(PARENT) | P(CONFD),                                                               \
	    "own key: name of the one file the agent runs on, below storage.directory/agent")      \
	SETTING(CONFIG_FORMAT, "agent.config_format", SETTING_ENUM, 0, 0, "yaml|raw", "yaml", 0,   \
	    P(CONFD) | P(PARENT),                                                                  \
	    "own key: raw = the server's one file as it is, not read, not merged (generic "        \
	    "agents)")                                                                             \
	SETTING(VALIDATE_ARGS, "agent.validate_args", SETTING_LIST, 0, 4096, NULL, NULL, 0,        \
	    P(PARENT) | P(CONFD),                                                                  \
	    "own key: generic agents: arguments of a run that only checks ${config}; none = no "   \
	    "check")                                                                               \
	SETTING(RELOAD_SIGNAL, "agent.reload_signal", SETTING_ENUM, 0, 0,                          \
	    "HUP|USR1|USR2|INT|TERM", "HUP", 0, P(PROCD),                                          \
	    "own key: signal that makes it read its configuration again")                          \
	SETTING(STOP_SIGNAL, "agent.stop_signal", SETTING_ENUM, 0, 0,                              \
	    "TERM|INT|QUIT|HUP|USR1|USR2", "TERM", 0, P(PROCD) | P(PARENT),                        \
	    "own key: signal that asks it to end")                                                 \
	SETTING(STOP_TIMEOUT, "agent.stop_timeout", SETTING_DURATION, 0, 600000, NULL, "10s", 0,   \
	    P(PROCD) | P(PARENT) | P(CONFD),                                                       \
	    "own key: time to end by itself before it and all it started are killed")              \
	SETTING(RESTART_MIN, "agent.restart.initial_delay", SETTING_DURATION, 1, DAY_MS, NULL,     \
	    "100ms", 0, P(PROCD), "own key: wait before the first restart after a crash; doubles") \
	SETTING(RESTART_MAX, "agent.restart.max_delay", SETTING_DURATION, 1, DAY_MS, NULL, "1m",   \
	    0, P(PROCD), "own key: longest wait")                                                  \
	SETTING(RESTART_RESET, "agent.restart.reset_after", SETTING_DURATION, 1, DAY_MS, NULL,     \
	    "1m", 0, P(PROCD), "own key: having run so long resets the wait")                      \
	SETTING(RESTART_CEILING, "agent.restart.max_restarts", SETTING_INT, 0, 1000000, NULL, "0", \
	    0, P(PROCD), "own key: give up after so many crashes in a row; 0 = never")             \
	SETTING(HEALTH_ENDPOINT, "agent.health.endpoint", SETTING_URL, 0, 2048, "http", NULL, 0,   \
	    P(LINK) | P(CONNECT) | P(PARENT) | P(CONFD),                                           \
	    "own key: http:// URL on loopback that answers 2xx while the agent is well")           \
	SETTING(HEALTH_INTERVAL, "agent.health.interval", SETTING_DURATION, 100, DAY_MS, NULL,     \
	    "10s", 0, P(LINK), "own key: how often it is asked")                                   \
	SETTING(HEALTH_TIMEOUT, "agent.health.timeout", SETTING_DURATION, 100, 600000, NULL, "5s", \
	    0, P(LINK) | P(CONNECT), "own key: longest time for an answer")                        \
	SETTING(LOG_DIR, "agent.log.directory", SETTING_PATH, 0, 4096, NULL, NULL, 0,              \
	    P(PARENT) | P(CONFD),                                                                  \
	    "own key: where agent.log is; default /var/log/opampd, or storage.directory for an "   \
	    "ordinary user")                                                                       \
	SETTING(LOG_SIZE, "agent.log.max_size", SETTING_SIZE, 4096, 1ull << 40, NULL, "10MiB", 0,  \
	    P(LINK), "own key: agent.log is rotated at this size")                                 \
	SETTING(LOG_FILES, "agent.log.max_files", SETTING_INT, 1, 100, NULL, "5", 0, P(PARENT),    \
	    "own key: how many are kept")                                                          \
	SETTING(CRASH_SNIPPET, "agent.collector_crash_log_snippet_kib", SETTING_INT, 0, 1024,      \
	    NULL, "0", 0, 0,                                                                       \
	    "accepted and not needed: the last lines of the output are always in the report")      \
	SETTING(ROLLBACK, "agent.automatic_config_rollback", SETTING_BOOL, 0, 1, NULL, "true", 0,  \
	    P(CONFD),                                                                              \
	    "must be true if given: opampd always goes back to the last configuration that "       \
	    "worked")                                                                              \
	SETTING(ORPHAN, "agent.orphan_detection_interval", SETTING_REFUSED, 0, 0, NULL, NULL, 0,   \
	    0, "not needed: the agent ends with opampd, by the kernel; remove the line")           \
	SETTING(FALLBACK, "agent.startup_fallback_configs", SETTING_REFUSED, 0, 0, NULL, NULL, 0,  \
	    0,                                                                                     \
	    "opampd has no second list: name local files in agent.config_files, which run when "   \
	    "the server has sent nothing, and remove the line")                                    \
	SETTING(UNIX_SOCKET, "agent.opamp_server_unix_socket", SETTING_REFUSED, 0, 0, NULL, NULL,  \
	    0, 0, NOT_YET)                                                                         \
	SETTING(PACKAGE, "agent.package", SETTING_REFUSED, 0, 0, NULL, NULL, 0, 0, NOT_YET)        \
	SETTING(RESOURCE_ATTRIBUTES, "agent.description.include_resource_attributes",              \
	    SETTING_FALSE, 0, 1, NULL, "false", 0, 0, NOT_YET)                                     \
	/* ---- storage, policy, limits */                                                         \
	SETTING(STORAGE, "storage.directory", SETTING_PATH, 0, 4096, NULL, "/var/lib/opampd", 0,   \
	    P(PARENT) | P(CONFD), "where opampd keeps its state")                                  \
	SETTING(CONTROL_SOCKET, "control.socket", SETTING_PATH, 0, 100, NULL, NULL, 0, P(PARENT),  \
	    "own key: opampctl's socket; default /run/opampd/control.sock, or "                    \
	    "storage.directory/control.sock for an ordinary user")                                 \
	SETTING(REMOTE_EXPANSION, "policy.remote_expansion", SETTING_LIST, 0, 1024, NULL, NULL, 0, \
	    P(CONFD), "own key: ${...} that a remote configuration may use, such as env:API_KEY")  \
	SETTING(WEAK_REMOTE, "policy.allow_remote_config_without_landlock", SETTING_BOOL, 0, 1,    \
	    NULL, "false", 0, P(CONFD),                                                            \
	    "own key: as an ordinary user on a kernel without Landlock the agent can read "        \
	    "opampd's state; true accepts that")                                                   \
	SETTING(MESSAGE_SIZE, "limits.message_size", SETTING_SIZE, 65536, 67108864, NULL, "32MiB", \
	    0, P(NETD), "own key: largest OpAMP message, received or sent")                        \
	SETTING(CONFIG_SIZE, "limits.config_size", SETTING_SIZE, 1024, 33554432, NULL, "16MiB", 0, \
	    P(NETD) | P(CONFD), "own key: largest remote configuration, all files together")       \
	SETTING(GENERATIONS, "limits.generations", SETTING_INT, 2, 1000, NULL, "10", 0, P(CONFD),  \
	    "own key: how many configurations are kept")                                           \
	SETTING(OFFERS_RATE, "limits.offers_per_minute", SETTING_INT, 1, 100000, NULL, "30", 0,    \
	    P(CONFD), "own key: how many offers a minute are acted on; the newest wins")           \
	SETTING(RESTARTS_RATE, "limits.restarts_per_minute", SETTING_INT, 1, 100000, NULL, "30",   \
	    0, P(CONFD), "own key: how many restart commands a minute are acted on")               \
	/* ---- opampd's own telemetry */                                                          \
	SETTING(LOG_LEVEL, "telemetry.logs.level", SETTING_ENUM, 0, 0, "error|warn|info|debug",    \
	    "info", 0, P(PARENT), "how much opampd itself says")                                   \
	SETTING(LOG_ENCODING, "telemetry.logs.encoding", SETTING_REFUSED, 0, 0, NULL, NULL, 0, 0,  \
	    "the log is one line of text per event: remove the line")                              \
	SETTING(LOG_PATHS, "telemetry.logs.output_paths", SETTING_REFUSED, 0, 0, NULL, NULL, 0, 0, \
	    "the log goes to stderr (-d), the journal or syslog: remove the line")                 \
	SETTING(LOG_ERROR_PATHS, "telemetry.logs.error_output_paths", SETTING_REFUSED, 0, 0, NULL, \
	    NULL, 0, 0, "the log goes to stderr (-d), the journal or syslog: remove the line")     \
	SETTING(LOG_PROCESSORS, "telemetry.logs.processors", SETTING_REFUSED, 0, 0, NULL, NULL, 0, \
	    0, NOT_YET)                                                                            \
	SETTING(TELEMETRY_METRICS, "telemetry.metrics", SETTING_REFUSED, 0, 0, NULL, NULL, 0, 0,   \
	    NOT_YET)                                                                               \
	SETTING(TELEMETRY_TRACES, "telemetry.traces", SETTING_REFUSED, 0, 0, NULL, NULL, 0, 0,     \
	    NOT_YET)                                                                               \
	SETTING(TELEMETRY_RESOURCE, "telemetry.resource", SETTING_REFUSED, 0, 0, NULL, NULL, 0, 0, \
	    NOT_YET)                                                                               \
	SETTING(HEALTHCHECK, "healthcheck", SETTING_REFUSED, 0, 0, NULL, NULL, 0, 0,               \
	    "ask `opampctl health` on the host: opampd has no listener of its own; remove the "    \
	    "section")                                                                             \
	SETTING(EXTENSIONS, "extensions", SETTING_REFUSED, 0, 0, NULL, NULL, 0, 0,                 \
	    "opampd runs no Collector extensions: remove the section")                             \
	/* ---- put in by merge */                                                                 \
	SETTING(UID_NETD, NULL, SETTING_DERIVED, 0, 0, NULL, NULL, 0, P(PARENT),                   \
	    "user ids, resolved once; each also with its group")                                   \
	SETTING(UID_LINK, NULL, SETTING_DERIVED, 0, 0, NULL, NULL, 0, P(PARENT), "")               \
	SETTING(UID_CONFD, NULL, SETTING_DERIVED, 0, 0, NULL, NULL, 0, P(PARENT), "")              \
	SETTING(UID_PROCD, NULL, SETTING_DERIVED, 0, 0, NULL, NULL, 0, P(PARENT), "")              \
	SETTING(UID_CONNECT, NULL, SETTING_DERIVED, 0, 0, NULL, NULL, 0, P(PARENT), "")            \
	SETTING(UID_MERGE, NULL, SETTING_DERIVED, 0, 0, NULL, NULL, 0, P(PARENT), "")              \
	SETTING(UID_AGENT, NULL, SETTING_DERIVED, 0, 0, NULL, NULL, 0, P(PARENT), "")              \
	SETTING(GID_READER, NULL, SETTING_DERIVED, 0, 0, NULL, NULL, 0, P(PARENT),                 \
	    "group opampd: may look")                                                              \
	SETTING(GID_ADMIN, NULL, SETTING_DERIVED, 0, 0, NULL, NULL, 0, P(PARENT),                  \
	    "group opampd-admin: may act")                                                         \
	SETTING(GID_EXTRA, NULL, SETTING_DERIVED, 0, 0, NULL, NULL, 0, P(PARENT),                  \
	    "agent.groups as numbers, one entry each")

#endif
