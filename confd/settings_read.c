/*
 * settings_read.c: opampd.yaml (see settings_read.h).  merge only, in its sandbox.
 */
#include "settings_read.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "settings_value.h"
#include "yaml.h"

void
settings_problem(struct settings_reader *r, uint32_t line, uint32_t column, const char *fmt, ...)
{
	struct settings_problem *p;
	va_list ap;
	int n;

	if (r->problem_count == SETTINGS_ERRORS)
		return;
	p = &r->problems[r->problem_count++];
	p->line = line;
	p->column = column;
	if (line == 0)
		n = snprintf(p->text, sizeof(p->text), "%s: ", r->file);
	else
		n = snprintf(p->text, sizeof(p->text), "%s:%u:%u: ", r->file, line, column);
	if (n < 0 || (size_t)n >= sizeof(p->text))
		return;
	va_start(ap, fmt);
	(void)vsnprintf(p->text + n, sizeof(p->text) - (size_t)n, fmt, ap);
	va_end(ap);
}

static void
warning(
    struct settings_reader *r, const struct settings_place *at, const char *what, const char *name)
{
	size_t used = strlen(r->warnings);

	(void)snprintf(r->warnings + used, sizeof(r->warnings) - used, "%s:%u:%u: %s%s\n", r->file,
	    at->line, at->column, what, name);
}

static const struct setting_rule *
rule_named(const char *name)
{
	int i;

	for (i = 1; i < SET_COUNT; i++)
		if (setting_rules[i].name != NULL && strcmp(setting_rules[i].name, name) == 0)
			return &setting_rules[i];
	return NULL;
}

static int
is_section(const char *name)
{
	size_t len = strlen(name);
	int i;

	for (i = 1; i < SET_COUNT; i++)
		if (setting_rules[i].name != NULL &&
		    strncmp(setting_rules[i].name, name, len) == 0 &&
		    setting_rules[i].name[len] == '.')
			return 1;
	return 0;
}

static void
store(struct settings_reader *r, const struct setting_rule *rule, const struct yaml_node *at,
    const void *value, size_t len)
{
	uint16_t column = at->column > UINT16_MAX ? UINT16_MAX : (uint16_t)at->column;
	uint32_t i;

	for (i = 1; i < PROC_COUNT; i++)
		if ((rule->to & 1u << i) != 0)
			record_put(&r->sections[i], rule->key, at->line, column, value, len);
	r->seen[rule->key].set = 1;
	r->seen[rule->key].line = at->line;
	r->seen[rule->key].column = at->column;
}

/* The scalar's text after expansion, or NULL with the problem noted.  The caller frees it. */
static char *
text_of(struct settings_reader *r, const char *name, const struct yaml_node *n)
{
	struct settings_place place = {.line = n->line, .column = n->column};
	char missing[128] = "", *out;
	struct error err;
	int whole;

	if (n->kind != YAML_SCALAR) {
		settings_problem(r, n->line, n->column, "%s: a single value belongs here, not a %s",
		    name, n->kind == YAML_MAP ? "section" : "list");
		return NULL;
	}
	out = settings_expand(n->value, r->environment, &whole, missing, sizeof(missing), &err);
	if (out == NULL)
		settings_problem(r, n->line, n->column, "%s: %s", name, err.text);
	else if (missing[0] != '\0')
		warning(r, &place, "environment variable not set, taken as empty: ", missing);
	return out;
}

static char *
absolute(struct settings_reader *r, const char *text)
{
	char *path;

	if (text[0] == '/' || r->cwd == NULL)
		return strdup(text);
	while (text[0] == '.' && text[1] == '/')
		text += 2;
	if (asprintf(&path, "%s%s%s", r->cwd, r->cwd[strlen(r->cwd) - 1] == '/' ? "" : "/",
		strcmp(text, ".") == 0 ? "" : text) == -1)
		return NULL;
	return path;
}

static void
read_text(struct settings_reader *r, const struct setting_rule *rule, const struct yaml_node *n)
{
	char *text = text_of(r, rule->name, n), *path;
	const char *fault;
	struct error err;

	if (text == NULL)
		return;
	fault = settings_text_fault(rule, text, &err);
	if (fault != NULL) {
		settings_problem(r, n->line, n->column, "%s: %s", rule->name, fault);
	} else if (rule->type == SETTING_PATH) {
		path = absolute(r, text);
		if (path != NULL)
			store(r, rule, n, path, strlen(path));
		free(path);
	} else {
		store(r, rule, n, text, strlen(text));
		r->seen[rule->key].number = strncmp(text, "wss:", 4) == 0;
	}
	if (rule->key == SET_RUN_AS && fault == NULL)
		(void)snprintf(r->run_as, sizeof(r->run_as), "%s", text);
	free(text);
}

static void
read_number(struct settings_reader *r, const struct setting_rule *rule, const struct yaml_node *n)
{
	char *text = text_of(r, rule->name, n);
	struct error err;
	uint64_t value;

	if (text == NULL)
		return;
	if (settings_number(rule, text, &value, &err) == -1) {
		settings_problem(r, n->line, n->column, "%s: %s", rule->name, err.text);
	} else if (rule->type == SETTING_FALSE && value != 0) {
		settings_problem(r, n->line, n->column, "%s: true is not possible: %s", rule->name,
		    setting_meaning((enum setting)rule->key));
	} else if (rule->key == SET_ROLLBACK && value == 0) {
		settings_problem(r, n->line, n->column, "%s: %s; remove the line", rule->name,
		    setting_meaning((enum setting)rule->key));
	} else {
		store(r, rule, n, &value, sizeof(value));
		r->seen[rule->key].number = value;
	}
	free(text);
}

static void
read_list(struct settings_reader *r, const struct setting_rule *rule, const struct yaml_node *n)
{
	char *text, *path;
	const char *fault;
	struct error err;
	size_t i;

	if (n->kind != YAML_SEQ) {
		settings_problem(r, n->line, n->column,
		    "%s: a list belongs here: one \"- value\" a line, or [a, b]", rule->name);
		return;
	}
	for (i = 0; i < n->count; i++) {
		const struct yaml_node *item = n->items[i];
		/* "$REMOTE_CONFIG" and "${config}" are ours, not the environment's */
		int raw = rule->key == SET_CONFIG_FILES || rule->key == SET_ARGS ||
			  rule->key == SET_VALIDATE_ARGS || rule->key == SET_REMOTE_EXPANSION;

		text = raw && item->kind == YAML_SCALAR ? strdup(item->value)
							: text_of(r, rule->name, item);
		if (text == NULL)
			continue;
		fault = settings_item_fault(rule, text, &err);
		if (fault != NULL) {
			settings_problem(r, item->line, item->column, "%s: %s", rule->name, fault);
		} else if (rule->key == SET_CONFIG_FILES && text[0] != '$') {
			path = absolute(r, text);
			if (path != NULL)
				store(r, rule, item, path, strlen(path));
			free(path);
		} else {
			store(r, rule, item, text, strlen(text));
		}
		if (rule->key == SET_ARGS &&
		    (strcmp(text, "--config") == 0 || strncmp(text, "--config=", 9) == 0))
			r->config_arg = 1;
		free(text);
	}
}

static void
store_pair(struct settings_reader *r, const struct setting_rule *rule, const struct yaml_node *key,
    const struct yaml_node *value)
{
	char *text = text_of(r, rule->name, value), *both;
	const char *fault;
	struct error err;
	size_t len;

	if (text == NULL)
		return;
	len = key->len + 1 + strlen(text);
	both = malloc(len + 1);
	fault = settings_pair_fault(rule, key->value, key->len, text, &err);
	if (fault != NULL || both == NULL) {
		settings_problem(r, key->line, key->column, "%s: \"%.80s\": %s", rule->name,
		    key->value, fault != NULL ? fault : "no memory");
	} else {
		memcpy(both, key->value, key->len + 1);
		memcpy(both + key->len + 1, text, strlen(text) + 1);
		store(r, rule, key, both, len);
	}
	free(both);
	free(text);
}

static void
read_map(struct settings_reader *r, const struct setting_rule *rule, const struct yaml_node *n)
{
	size_t i, k;

	if (n->kind != YAML_MAP) {
		settings_problem(
		    r, n->line, n->column, "%s: \"name: value\" lines belong here", rule->name);
		return;
	}
	for (i = 0; i < n->count; i++) {
		const struct yaml_node *value = n->pairs[i].value;

		if (rule->type == SETTING_HEADERS && value->kind == YAML_SEQ)
			for (k = 0; k < value->count; k++)
				store_pair(r, rule, n->pairs[i].key, value->items[k]);
		else
			store_pair(r, rule, n->pairs[i].key, value);
	}
}

static void
read_key(struct settings_reader *r, const struct setting_rule *rule, const struct yaml_node *key,
    const struct yaml_node *value)
{
	r->seen[rule->key].tried = 1;
	switch (rule->type) {
	case SETTING_REFUSED:
		settings_problem(r, key->line, key->column, "%s: %s", rule->name,
		    setting_meaning((enum setting)rule->key));
		break;
	case SETTING_BOOL:
	case SETTING_FALSE:
	case SETTING_INT:
	case SETTING_SIZE:
	case SETTING_DURATION:
	case SETTING_ENUM:
		read_number(r, rule, value);
		break;
	case SETTING_LIST:
		read_list(r, rule, value);
		break;
	case SETTING_MAP:
	case SETTING_HEADERS:
		read_map(r, rule, value);
		break;
	default:
		read_text(r, rule, value);
		break;
	}
}

static void
read_section(struct settings_reader *r, const struct yaml_node *map, const char *prefix, int depth)
{
	const struct setting_rule *rule;
	char name[256], near[128];
	size_t i;

	for (i = 0; i < map->count; i++) {
		const struct yaml_node *key = map->pairs[i].key, *value = map->pairs[i].value;

		(void)snprintf(name, sizeof(name), "%s%s%.100s", prefix,
		    prefix[0] == '\0' ? "" : ".", key->value);
		rule = rule_named(name);
		if (rule != NULL) {
			read_key(r, rule, key, value);
		} else if (is_section(name) && value->kind == YAML_MAP && depth < 8) {
			read_section(r, value, name, depth + 1);
		} else if (is_section(name) && value->kind == YAML_SCALAR && value->len == 0) {
			continue; /* a section without content */
		} else if (is_section(name)) {
			r->unknown = 1;
			settings_problem(r, value->line, value->column,
			    "%s: is a section: its keys belong below it", name);
		} else {
			r->unknown = 1;
			if (settings_nearest(name, near, sizeof(near)))
				settings_problem(r, key->line, key->column,
				    "%s: unknown key; did you mean %s?", name, near);
			else
				settings_problem(r, key->line, key->column,
				    "%s: unknown key: see opampd.yaml(5)", name);
		}
	}
}

static void
conflict(struct settings_reader *r, enum setting key, const char *what)
{
	settings_problem(
	    r, r->seen[key].line, r->seen[key].column, "%s: %s", setting_name(key), what);
}

static void
no_effect(struct settings_reader *r, enum setting key, const char *why)
{
	size_t used = strlen(r->warnings);

	(void)snprintf(r->warnings + used, sizeof(r->warnings) - used,
	    "%s:%u:%u: %s has no effect: %s\n", r->file, r->seen[key].line, r->seen[key].column,
	    setting_name(key), why);
}

static uint64_t
number(const struct settings_reader *r, enum setting key)
{
	struct settings none = {0};

	return r->seen[key].set ? r->seen[key].number : settings_u64(&none, key);
}

/* What is no mistake, and does not do what somebody may hope. */
static void
check_effect(struct settings_reader *r)
{
	static const enum setting tls[] = {SET_CA_FILE, SET_CA_PEM, SET_CERT_FILE, SET_CERT_PEM,
	    SET_TLS_SKIP_VERIFY, SET_TLS_SERVER_NAME},
				  strict[] = {SET_STRICT_READ, SET_STRICT_EXECUTE, SET_STRICT_BIND,
				      SET_STRICT_CONNECT},
				  root[] = {SET_RUN_AS, SET_GROUPS};
	size_t i;

	for (i = 0; i < sizeof(tls) / sizeof(tls[0]); i++)
		if (r->seen[tls[i]].set && r->seen[SET_ENDPOINT].set &&
		    r->seen[SET_ENDPOINT].number == 0)
			no_effect(r, tls[i],
			    "the endpoint is ws://, which is not encrypted; write wss:// for TLS");
	for (i = 0; i < sizeof(strict) / sizeof(strict[0]); i++)
		if (r->seen[strict[i]].set && number(r, SET_SANDBOX) != 2)
			no_effect(r, strict[i], "it belongs to agent.sandbox: strict");
	for (i = 0; !r->users.wanted && i < sizeof(root) / sizeof(root[0]); i++)
		if (r->seen[root[i]].set)
			no_effect(r, root[i],
			    "started by an ordinary user, opampd runs the agent as that user");
	if (r->config_arg && number(r, SET_AGENT_TYPE) == 0)
		warning(r, &r->seen[SET_ARGS],
		    "agent.args: --config beside opampd's own: that file is merged by the "
		    "Collector "
		    "itself, unseen by opampd; name it in agent.config_files instead",
		    "");
}

static void
check_between(struct settings_reader *r)
{
	int generic = number(r, SET_AGENT_TYPE) == 1;

	if ((r->seen[SET_CERT_FILE].set || r->seen[SET_CERT_PEM].set) !=
	    (r->seen[SET_KEY_FILE].set || r->seen[SET_KEY_PEM].set))
		conflict(r,
		    r->seen[SET_CERT_FILE].set  ? SET_CERT_FILE
		    : r->seen[SET_CERT_PEM].set ? SET_CERT_PEM
		    : r->seen[SET_KEY_FILE].set ? SET_KEY_FILE
						: SET_KEY_PEM,
		    "a client certificate and its key go together: give both, or neither");
	if (r->seen[SET_CA_FILE].set && r->seen[SET_CA_PEM].set)
		conflict(r, SET_CA_PEM, "ca_file is given too: keep one");
	if (r->seen[SET_CERT_FILE].set && r->seen[SET_CERT_PEM].set)
		conflict(r, SET_CERT_PEM, "cert_file is given too: keep one");
	if (r->seen[SET_KEY_FILE].set && r->seen[SET_KEY_PEM].set)
		conflict(r, SET_KEY_PEM, "key_file is given too: keep one");
	if (number(r, SET_TLS_MIN) > number(r, SET_TLS_MAX))
		conflict(r, SET_TLS_MAX, "older than min_version");
	if (number(r, SET_RECONNECT_MIN) > number(r, SET_RECONNECT_MAX))
		conflict(r, r->seen[SET_RECONNECT_MAX].set ? SET_RECONNECT_MAX : SET_RECONNECT_MIN,
		    "initial_delay is longer than max_delay");
	if (number(r, SET_RESTART_MIN) > number(r, SET_RESTART_MAX))
		conflict(r, r->seen[SET_RESTART_MAX].set ? SET_RESTART_MAX : SET_RESTART_MIN,
		    "initial_delay is longer than max_delay");
	if (r->seen[SET_SETTLING].set && number(r, SET_SETTLING) >= number(r, SET_APPLY_TIMEOUT))
		conflict(r, SET_SETTLING, "must be shorter than agent.config_apply_timeout");
	if (!generic && number(r, SET_CONFIG_FORMAT) == 1)
		conflict(r, SET_CONFIG_FORMAT, "raw is for agent.type generic");
	if (!generic && r->seen[SET_VALIDATE_ARGS].set)
		conflict(r, SET_VALIDATE_ARGS,
		    "for agent.type generic: a Collector is asked with its own `validate`");
}

static void
check_required(struct settings_reader *r)
{
	int i;

	for (i = 1; i < SET_COUNT; i++)
		if (setting_rules[i].required && !r->seen[i].set && !r->seen[i].tried &&
		    !r->unknown)
			settings_problem(r, 0, 0, "%s is missing: %s", setting_rules[i].name,
			    setting_meaning((enum setting)i));
}

static int
by_place(const void *a, const void *b)
{
	const struct settings_problem *x = a, *y = b;

	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	return x->column < y->column ? -1 : x->column > y->column;
}

int
settings_read(struct settings_reader *r, const char *data, size_t len)
{
	struct yaml_tree tree = {0};
	struct error err;

	if (tree_load(&tree, r->file, data, len, YAML_LOCAL, &err) == -1) {
		(void)snprintf(
		    r->problems[0].text, sizeof(r->problems[0].text), "%.590s", err.text);
		r->problem_count = 1;
		tree_free(&tree);
		return -1;
	}
	r->parsed = 1;
	if (tree.root != NULL && tree.root->kind != YAML_MAP)
		settings_problem(r, tree.root->line, tree.root->column,
		    "the settings are sections such as \"server:\" with keys below them");
	else if (tree.root != NULL)
		read_section(r, tree.root, "", 0);
	check_between(r);
	check_effect(r);
	check_required(r);
	settings_resolve_users(r, tree_get(tree_get(tree.root, "agent"), "groups"));
	tree_free(&tree);
	qsort(r->problems, r->problem_count, sizeof(r->problems[0]), by_place);
	return r->problem_count == 0 ? 0 : -1;
}

void
settings_reader_free(struct settings_reader *r)
{
	size_t i;

	for (i = 0; i < PROC_COUNT; i++)
		record_discard(&r->sections[i]);
}
