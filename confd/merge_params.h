/*
 * merge_params.h: the keys of the records between confd and merge: what is to be composed, and
 * what came of it.  confd writes parameters and reads results; merge the other way round.
 */
#ifndef CONFD_MERGE_PARAMS_H
#define CONFD_MERGE_PARAMS_H

enum merge_param {
	PARAM_NONE,
	PARAM_UID_TEXT,     /* instance uid as UUID text */
	PARAM_PORT,         /* u64: link's port */
	PARAM_NOOP,         /* u64: enum noop_form */
	PARAM_INJECT,       /* u64: 1 for Collectors */
	PARAM_ORDER,        /* one entry for each of agent.config_files */
	PARAM_ALLOW,        /* one entry for each of policy.remote_expansion */
	PARAM_ATTRIBUTE,    /* name NUL value */
	PARAM_CONFIG_LIMIT, /* u64: limits.config_size */
};

enum merge_result_key {
	RESULT_NONE,
	RESULT_EFFECTIVE, /* the merged bytes */
	RESULT_WARNING,   /* text */
	RESULT_SUM,       /* u64: compose.h */
};

#endif
