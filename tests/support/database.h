/* A database of its own for a test, on the server of ORDERLOG_TEST_DATABASE_URL. */
#ifndef ORDERLOG_TESTS_SUPPORT_DATABASE_H
#define ORDERLOG_TESTS_SUPPORT_DATABASE_H

#include <stdbool.h>

enum { TEST_SKIPPED = 77 };

/* False when the variable is not set: main() returns TEST_SKIPPED, having said so. Under CI=true it is a failure. */
bool database_is_there(void);
/* *ret_url is the caller's to free(). */
void database_make(char **ret_url);
/* Drops it, whoever is connected. */
void database_drop(const char *url);

#endif
