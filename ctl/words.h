/*
 * words.h: numbers of the control protocol in words for people.  opampctl only.  A number that is not known (a
 * newer opampd) gives "unknown".
 */
#ifndef CTL_WORDS_H
#define CTL_WORDS_H

#include <stddef.h>
#include <stdint.h>

const char *word_agent_state(uint64_t v);
const char *word_server_event(uint64_t v);
const char *word_config_status(uint64_t v);
const char *word_source(uint64_t v);
const char *word_outcome(uint64_t v);
const char *word_worst(uint64_t v);

/* "exit status 3", "signal 11 (Segmentation fault)" ...; NULL for none. */
const char *exit_text(char *buf, size_t size, uint64_t kind, uint64_t value, uint64_t stage);

#endif
