/* The revoked sessions that are known: a set in memory, which each request with a token asks. Any thread. */
#ifndef ORDERLOG_API_REVOKED_SET_H
#define ORDERLOG_API_REVOKED_SET_H

#include "api/revoked_store.h"

struct revoked_set;

struct revoked_set *revoked_set_new(void);
void revoked_set_free(struct revoked_set *set); /* NULL is fine */
/* Those that have ended by now are left out. */
void revoked_set_add(struct revoked_set *set, const struct revoked_id *ids, size_t count);
/* Forgets those that have ended. */
void revoked_set_sweep(struct revoked_set *set);
/* Whether tokens of this id that end at its expires_s are good no more. */
bool revoked_set_has(struct revoked_set *set, const struct revoked_id *id);
size_t revoked_set_count(const struct revoked_set *set);

#endif
