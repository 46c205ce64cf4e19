/*
 * driver.h: kinds of agents as data: which arguments a run, a validation and a probe have.
 * The parent only.  Everything comes from the settings (invariant I4).
 */
#ifndef PRIVSEP_DRIVER_H
#define PRIVSEP_DRIVER_H

#include "settings.h"

#define DRIVER_ARGS      512
#define DRIVER_SECRET_FD 4 /* where the agent finds the link's secret file */

struct driver {
	const char *name;
	int uses_link; /* speaks OpAMP to link: is handed the secret file */
	/*
	 * NULL-terminated.  ${config} is the configuration's path, ${secret} the secret file,
	 * ${gate} the feature gate where the start asks for it, ${args} and ${validate_args} the lists
	 * of the settings.  A template whose [0] is NULL: there is no such start.
	 */
	const char *const *run, *const *validate, *const *probe;
};

const struct driver *driver_of(const struct settings *s);

/*
 * The arguments of a start, argv[0] being the executable's path.  paths: the configuration to run
 * and the one to validate.  The result is malloc'd (free with driver_free); NULL with err.
 */
char **driver_argv(const struct driver *d, const struct settings *s, uint32_t kind, uint32_t flags,
    const char *run_path, const char *candidate_path, struct error *err);
void driver_free(char **argv);

#endif
