/* A store that fails when it is told to, and the comparison with a run that knew no trouble. */
#ifndef ORDERLOG_TESTS_PROJECTIONS_PROJECTOR_FAULTS_H
#define ORDERLOG_TESTS_PROJECTIONS_PROJECTOR_FAULTS_H

#include "tests/projections/projector_test.h"

enum trouble { NO_TROUBLE, ANSWER_LOST, DIE_BEFORE, DIE_AFTER };

static struct {
    enum trouble trouble;
    int saves_until; /* the save that has the trouble; counts down */
    int saves;
} faulty;

static bool faulty_save(struct projector_store *store, struct shard_save *shards, size_t count, struct arena *arena,
                        struct err *err) {
    bool now = --faulty.saves_until == 0;
    faulty.saves++;
    if (now && faulty.trouble == DIE_BEFORE)
        _exit(9);
    if (!test_store.ops->save(store, shards, count, arena, err))
        return false;
    if (now && faulty.trouble == DIE_AFTER)
        _exit(9);
    if (now && faulty.trouble == ANSWER_LOST) {
        faulty.saves_until = 3;
        return err_set(err, ERR_STORE_UNAVAILABLE, "the answer was lost");
    }
    return true;
}

static struct projector_store_ops faulty_ops(enum trouble trouble, int saves_until) {
    struct projector_store_ops ops = *test_store.ops;
    ops.save = faulty_save;
    faulty.trouble = trouble;
    faulty.saves_until = saves_until;
    faulty.saves = 0;
    return ops;
}

/* The dump after a run without any trouble. The store is empty again then. */
static char *expected_of(struct world *world) {
    read_all(world, 0);
    char *dump = dump_of(world);
    test_store.wipe(world->store_url);
    return dump;
}

static void assert_dumps_equal(const char *a, const char *b) {
    size_t at = 0;
    while (a[at] && a[at] == b[at])
        at++;
    if (a[at] || b[at])
        fail_msg("they differ at %zu:\n%.200s\n---\n%.200s", at, a + (at > 100 ? at - 100 : 0),
                 b + (at > 100 ? at - 100 : 0));
}

static void assert_read_as(struct world *world, char *expected) {
    char *dump = dump_of(world);
    assert_dumps_equal(dump, expected);
    free(dump);
    free(expected);
}

#endif
