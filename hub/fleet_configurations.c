/*
 * fleet_configurations.c: configurations and their versions, as operators make them (see fleet.h).
 * opamphub-store.
 */
#include <stdlib.h>
#include <string.h>

#include "fleet_inside.h"

/* The end of a change by an operator. */
static int
done(struct fleet *f, int r, enum fleet_news news, uint64_t id, struct error *err)
{
	if (r == -1 || fleet_end(f, err) == -1) {
		fleet_undo(f);
		return -1;
	}
	if (f->watch != NULL)
		f->watch(f->watch_ctx, news, NULL, id);
	return r;
}

int
fleet_configuration_new(struct fleet *f, struct bytes name, uint64_t *id, struct error *err)
{
	*id = 0;
	if (fleet_begin(f, err) == -1)
		return -1;
	return done(f, store_configuration_new(f->store, name, f->now, id, err), NEWS_CONFIGURATION,
	    *id, err);
}

int
fleet_configuration_delete(struct fleet *f, uint64_t id, struct error *err)
{
	if (fleet_begin(f, err) == -1)
		return -1;
	return done(f, store_configuration_delete(f->store, id, err), NEWS_CONFIGURATION, id, err);
}

int
fleet_version_new(struct fleet *f, uint64_t configuration, const json_t *files, struct bytes author,
    struct bytes comment, uint64_t *id, struct error *err)
{
	struct configuration_version v = {
	    .configuration = configuration, .author = author, .comment = comment};
	char *dump = json_dumps(files, JSON_COMPACT);
	int r;

	if (dump == NULL)
		return error_set(err, "out of memory");
	config_files_hash(files, v.hash);
	v.files = (struct bytes){dump, strlen(dump)};
	r = fleet_begin(f, err);
	if (r == 0) {
		v.created = f->now;
		r = done(f, store_version_new(f->store, &v, err), NEWS_CONFIGURATION, configuration,
		    err);
	}
	*id = v.id;
	free(dump);
	return r;
}
