/*
 * apply_random_test.c: the apply transaction in any order of events: offers, restart commands, changes of
 * uid, deaths of confd, procd, link and the agent, power loss and full disks at every step, by dice with a
 * fixed seed.  After each step what must always hold is checked; now and then all is let come to rest, and
 * then what was told to the server, to procd and what the agent has read must be one.
 *
 * STEPS and SEED in the environment make it longer, and another one.
 */
#include "apply_sim.h"

static void
offers(struct sim *s)
{
	static const char *const bodies[] = {"good1", "good2", "good3", "crash", "never", "dies",
	    "permanent", "refused", "void", ""};
	uint64_t which = dice(s, 12);
	char hash[32];
	size_t len;
	char *data;

	if (!s->confd_lives)
		return;
	(void)snprintf(hash, sizeof(hash), "h%llu", (unsigned long long)which);
	if (dice(s, 12) == 0)
		hash[0] = '\0'; /* a server that sends none */
	if (which >= 10)
		data = make_offer(hash, strlen(hash), "", 1, &len);
	else
		data = make_offer(hash, strlen(hash), bodies[which], 0, &len);
	apply_offer(&s->a, &(struct apply_bytes){.data = data, .len = len});
}

static void
new_uid(struct sim *s)
{
	(void)snprintf(s->uid_text, sizeof(s->uid_text), "01890000-0000-7000-8000-%012x", ++s->uid);
	if (s->confd_lives)
		apply_uid(&s->a, s->uid_text);
}

static void
faults(struct sim *s)
{
	s->store.fail_state = chance(s, 2);
	s->store.fail_make = chance(s, 2);
	s->store.fail_switch = chance(s, 2);
	s->store.fail_ready = chance(s, 2);
	s->store.fail_candidate = chance(s, 2);
}

static void
no_faults(struct sim *s)
{
	s->store.fail_state = s->store.fail_make = s->store.fail_switch = 0;
	s->store.fail_ready = s->store.fail_candidate = 0;
}

static void
step(struct sim *s)
{
	struct error err;

	switch (dice(s, 40)) {
	case 0:
		offers(s);
		break;
	case 1:
		if (dice(s, 4) == 0 && s->confd_lives)
			(void)apply_restart(&s->a, (int)dice(s, 2), &err);
		break;
	case 2:
		if (dice(s, 10) == 0)
			new_uid(s);
		break;
	case 3:
		if (dice(s, 10) == 0 && s->confd_lives)
			apply_recompose(&s->a);
		break;
	case 4:
		if (dice(s, 6) == 0)
			procd_dies(s);
		break;
	case 5:
		if (dice(s, 8) == 0)
			confd_dies(s);
		break;
	case 6:
		if (dice(s, 60) == 0)
			power_loss(s);
		break;
	case 7:
		if (!s->link_lives || dice(s, 12) == 0)
			link_turns(s);
		break;
	case 8:
		if (dice(s, 20) == 0)
			faults(s);
		break;
	case 9:
	case 10:
		no_faults(s);
		break;
	case 11:
	case 12:
		if (!s->procd_lives)
			procd_begin(s);
		if (!s->confd_lives)
			confd_begin(s);
		break;
	case 13:
	case 14:
	case 15:
		time_passes(s, dice(s, 3000));
		break;
	case 16:
		time_passes(s, dice(s, 40000));
		break;
	case 17:
	case 18:
	case 19:
		merge_answers(s);
		break;
	case 20:
	case 21:
	case 22:
		parent_starts(s);
		break;
	case 23:
	case 24:
		check_acts(s);
		break;
	case 25:
	case 26:
	case 27:
	case 28:
		procd_reads(s);
		break;
	case 29:
	case 30:
	case 31:
	case 32:
		confd_reads(s);
		break;
	default:
		agent_acts(s);
		break;
	}
}

/* ---- what must always hold */

static int
job_is_out(struct sim *s)
{
	uint64_t token = s->a.job_token;
	size_t i;

	if (token == 0 || !s->procd_lives || s->a.agent.proc_fresh)
		return !s->procd_lives || s->a.agent.proc_fresh;
	for (i = 0; i < s->to_procd.count; i++)
		if (s->to_procd.list[i].kind == LETTER_JOB &&
		    s->to_procd.list[i].u.job.token == token)
			return 1;
	for (i = 0; i < s->to_confd.count; i++)
		if (s->to_confd.list[i].kind == LETTER_DONE &&
		    s->to_confd.list[i].u.done.token == token)
			return 1;
	return s->s.job.token == token || s->s.next_job.token == token;
}

/* Nothing waits for something that will not come. */
static void
check_progress(struct sim *s)
{
	struct apply *a = &s->a;

	switch (a->phase) {
	case APPLY_WAITING:
		CHECK(s, !s->procd_lives || s->to_confd.count > 0 || a->agent.proc_fresh);
		break;
	case APPLY_PROBE:
	case APPLY_VALIDATE:
		CHECK(s, job_is_out(s));
		break;
	case APPLY_COMPOSE:
	case APPLY_CHECK:
		CHECK(s, s->kind != 0 && s->job == a->job);
		break;
	case APPLY_WORDS:
		CHECK(s, s->timers[APPLY_TIMER_WORDS] != 0);
		break;
	case APPLY_GATE:
		CHECK(s, s->timers[APPLY_TIMER_GATE] != 0 || !s->link_lives);
		break;
	case APPLY_ROLLBACK:
	case APPLY_STOPPING:
		CHECK(s, s->timers[APPLY_TIMER_BACK] != 0);
		break;
	case APPLY_IDLE:
		CHECK(s, a->pending.data == NULL || s->timers[APPLY_TIMER_RATE] != 0);
		CHECK(s, !a->held || s->timers[APPLY_TIMER_AGAIN] != 0);
		CHECK(s, !a->recompose || a->held || a->stopped || a->waiting);
		CHECK(s, a->try.generation == 0 && !a->try.has_offer);
		/* a way back that is barred is tried again */
		CHECK(s, !a->switched || s->timers[APPLY_TIMER_AGAIN] != 0);
		break;
	}
	CHECK(s, a->try.generation == 0 || a->phase == APPLY_GATE || a->phase == APPLY_ROLLBACK);
}

static void
check_told(struct sim *s)
{
	struct apply *a = &s->a;

	if (a->phase == APPLY_WAITING || a->phase == APPLY_PROBE)
		return;
	if (a->phase != APPLY_STOPPING) { /* then it is told at the end */
		CHECK(s, a->told.status == s->told.status);
		CHECK(s, bytes_equal(&a->told.hash, s->told.hash.data, s->told.hash.len));
	}
	if (a->told.status == CONFIG_APPLYING) {
		CHECK(s, a->phase != APPLY_IDLE && a->phase != APPLY_STOPPING);
		CHECK(s, a->try.has_offer);
		/* an empty map is not told before the agent has stopped, or runs again */
		CHECK(s, a->try.empty_map ||
			     bytes_equal(&a->try.hash, a->told.hash.data, a->told.hash.len));
	} else if (a->try.has_offer) {
		CHECK(s, a->phase == APPLY_STOPPING || a->try.empty_map);
	}
	if (a->told.status == CONFIG_APPLIED)
		CHECK(s, a->stopped || s->unkept ||
			     bytes_equal(&a->committed_hash, a->told.hash.data, a->told.hash.len));
}

/* `committed` is only what the agent has read and was well on. */
static void
check_committed(struct sim *s)
{
	uint64_t committed = s->store.state.committed;

	if (s->run.alive && (s->run.healthy || !s->set.injects))
		(void)snprintf(s->proved, sizeof(s->proved), "%s", s->run.text);
	if (committed == s->committed_before)
		return;
	CHECK(s, committed > s->committed_before);
	CHECK(s, fake_find(&s->store, committed) != NULL);
	CHECK(s, strcmp(text_in(s, committed), s->proved) == 0 ||
		     strcmp(text_in(s, committed), s->committed_text) == 0);
	CHECK(s, nature(text_in(s, committed)) != 'c');
	CHECK(s, nature(text_in(s, committed)) != 'n' || !s->set.injects);
	s->committed_before = committed;
	(void)snprintf(s->committed_text, sizeof(s->committed_text), "%s", text_in(s, committed));
	s->commits++;
}

static void
check(struct sim *s)
{
	struct apply *a = &s->a;

	check_committed(s);
	CHECK(s, s->store.count <= s->set.keep + 4);
	CHECK(s, s->committed_before == 0 || fake_find(&s->store, s->committed_before) != NULL);
	if (!s->confd_lives)
		return;
	CHECK(s, a->committed == s->store.state.committed);
	check_progress(s);
	check_told(s);
	/* what it wants is what proved itself, unless that is being changed */
	if (a->phase == APPLY_IDLE && a->committed != 0 && !a->stopped && !a->switched) {
		CHECK(s, a->run_generation != 0);
		CHECK(s, strcmp(text_in(s, a->run_generation), text_in(s, a->committed)) == 0);
	}
	if (a->phase == APPLY_ROLLBACK && !a->switched)
		CHECK(s, a->run_generation == (a->stopped             ? 0
						  : a->committed != 0 ? a->committed
								      : a->base) ||
			     strcmp(text_in(s, a->run_generation), text_in(s, a->committed)) == 0 ||
			     strcmp(text_in(s, a->run_generation), text_in(s, a->base)) == 0);
}

/* ---- rest */

static void
come_to_rest(struct sim *s)
{
	struct apply *a = &s->a;
	int i;

	s->calm = 1;
	no_faults(s);
	if (!s->procd_lives)
		procd_begin(s);
	if (!s->confd_lives)
		confd_begin(s);
	if (!s->link_lives)
		link_turns(s);
	for (i = 0; i < 3000; i++) {
		merge_answers(s);
		procd_reads(s);
		parent_starts(s);
		check_acts(s);
		confd_reads(s);
		agent_acts(s);
		time_passes(s, i % 20 == 19 ? 7000 : 20);
		check(s);
	}
	CHECK(s, a->phase == APPLY_IDLE);
	CHECK(s, a->told.status != CONFIG_APPLYING);
	CHECK(s, a->pending.data == NULL);
	if (a->stopped) {
		CHECK(s, !s->run.alive && s->s.state == AGENT_STOPPED);
	} else if (a->committed != 0) {
		CHECK(s, s->s.token == a->token || a->agent.proc.token == a->token);
		if (nature(text_in(s, a->committed)) == 'g') {
			CHECK(s, s->run.alive);
			CHECK(s, strcmp(s->run.text, text_in(s, a->committed)) == 0);
			CHECK(s, apply_well(a));
			/* the newest uid, whatever went wrong on the way (ID-02) */
			CHECK(s, s->set.raw || a->again >= APPLY_TRIALS ||
				     strstr(s->run.text, a->uid_text) != NULL);
		}
	}
	s->calm = 0;
}

/* opampd ends: in whatever state, the agent is stopped. */
static void
end(struct sim *s)
{
	int i;

	s->calm = 1;
	if (!s->procd_lives)
		procd_begin(s);
	if (!s->confd_lives)
		confd_begin(s);
	apply_end(&s->a);
	for (i = 0; i < 500 && (s->run.alive || !apply_ended(&s->a)); i++) {
		procd_reads(s);
		parent_starts(s);
		check_acts(s);
		confd_reads(s);
		agent_acts(s);
		time_passes(s, 100);
	}
	CHECK(s, !s->run.alive && apply_ended(&s->a));
	CHECK(s, s->s.state == AGENT_STOPPED);
}

static void
play(uint64_t seed, unsigned long steps, void (*change)(struct apply_settings *set))
{
	struct sim *s = calloc(1, sizeof(*s));
	unsigned long i;

	assert_non_null(s);
	s->errors = dup(2);
	if (getenv("VERBOSE") == NULL) {
		i = (unsigned long)open("/dev/null", O_WRONLY);
		(void)dup2((int)i, 2);
		(void)close((int)i);
	}
	s->seed = seed;
	s->now = 1000000;
	s->set = (struct apply_settings){.injects = 1,
	    .has_local = 1,
	    .accepts = 1,
	    .validates = 1,
	    .accepts_restart = 1,
	    .timeout_ms = 30000,
	    .settling_ms = 2000,
	    .stop_ms = 10000,
	    .keep = 10,
	    .config_limit = LIMIT_CONFIG_BYTES,
	    .offers_per_minute = 100,
	    .restarts_per_minute = 30,
	    .port = PORT};
	s->store.gate = -1;
	if (change != NULL)
		change(&s->set);
	(void)snprintf(s->uid_text, sizeof(s->uid_text), "%s", UID);
	s->link_lives = 1;
	procd_begin(s);
	confd_begin(s);
	for (i = 0; i < steps; i++) {
		s->step = i;
		step(s);
		check(s);
		if (i % 4000 == 3999)
			come_to_rest(s);
	}
	if (getenv("STEPS") != NULL)
		print_message("%lu steps, %u merges, %u commits, %u failures\n", steps, s->merges,
		    s->commits, s->failures);
	end(s);
	confd_dies(s);
	bytes_free(&s->told.hash);
	fake_store_clear(&s->store);
	(void)dup2(s->errors, 2);
	(void)close(s->errors);
	free(s);
}

static void
with_reload(struct apply_settings *set)
{
	set->hup = 1;
}

/* No link to tell that the reload came through: the process is all there is. */
static void
generic_reload(struct apply_settings *set)
{
	set->hup = 1;
	set->injects = 0;
}

static void
without_local(struct apply_settings *set)
{
	set->has_local = 0;
	set->validates = 0;
}

static void
raw(struct apply_settings *set)
{
	set->raw = 1;
	set->injects = set->has_local = 0;
}

static void
hold_always(void (*change)(struct apply_settings *set))
{
	const char *steps = getenv("STEPS"), *seed = getenv("SEED");
	unsigned long n = steps == NULL ? 150000 : strtoul(steps, NULL, 10);
	uint64_t first = seed == NULL ? 1 : strtoull(seed, NULL, 10);

	play(first * 0x9e3779b97f4a7c15u + 1, n, change);
}

static void
test_CF_05_CF_07_any_order_of_events(void **state_)
{
	(void)state_;
	hold_always(NULL);
}

static void
test_CF_05_CF_07_any_order_with_reloads(void **state_)
{
	(void)state_;
	hold_always(with_reload);
}

static void
test_CF_05_CF_07_any_order_generic_with_reloads(void **state_)
{
	(void)state_;
	hold_always(generic_reload);
}

static void
test_CF_05_CF_07_any_order_without_local_files(void **state_)
{
	(void)state_;
	hold_always(without_local);
}

static void
test_CF_05_CF_07_any_order_raw(void **state_)
{
	(void)state_;
	hold_always(raw);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_CF_05_CF_07_any_order_of_events),
	    cmocka_unit_test(test_CF_05_CF_07_any_order_with_reloads),
	    cmocka_unit_test(test_CF_05_CF_07_any_order_generic_with_reloads),
	    cmocka_unit_test(test_CF_05_CF_07_any_order_without_local_files),
	    cmocka_unit_test(test_CF_05_CF_07_any_order_raw),
	};

	return cmocka_run_group_tests_name("apply_random", tests, NULL, NULL);
}
