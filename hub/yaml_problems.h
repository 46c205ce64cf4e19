/*
 * yaml_problems.h: what a person wrote, looked at for errors of YAML before it is sent.
 * opamphub-store.
 */
#ifndef HUB_YAML_PROBLEMS_H
#define HUB_YAML_PROBLEMS_H

#include <jansson.h>

/* Appends {"file", "line", "column", "what"} for what is wrong; lines and columns begin at 1. */
void yaml_problems(json_t *problems, const char *file, const char *text, size_t len);

#endif
