#include "cli/sequences.h"

#include <stdlib.h>

struct sequence {
    int64_t last;
};

static void sequence_key(struct buf *ret, struct str topic, int32_t partition, struct str origin) {
    buf_printf(ret, "%d/", partition);
    buf_add_str(ret, topic);
    buf_add_char(ret, '/');
    buf_add_str(ret, origin);
}

enum sequence_verdict sequences_take(struct sequences *sequences, const struct envelope *envelope, int64_t *ret_last) {
    *ret_last = 0;
    if (!envelope->origin.ptr || envelope->origin_seq < 1)
        return SEQUENCE_NONE;
    BUF_AUTO key = {0};
    sequence_key(&key, envelope->topic, envelope->partition, envelope->origin);
    void **slot = map_put(&sequences->last, buf_str(&key));
    struct sequence *sequence = *slot;
    if (!sequence) {
        sequence = *slot = mem_alloc(sizeof *sequence);
        sequence->last = envelope->origin_seq;
        return SEQUENCE_FIRST;
    }
    *ret_last = sequence->last;
    if (envelope->origin_seq <= sequence->last)
        return SEQUENCE_DUPLICATE;
    enum sequence_verdict verdict = envelope->origin_seq == sequence->last + 1 ? SEQUENCE_NEXT : SEQUENCE_HOLE;
    sequence->last = envelope->origin_seq;
    return verdict;
}

int64_t sequences_last(const struct sequences *sequences, struct str topic, int32_t partition, struct str origin) {
    BUF_AUTO key = {0};
    sequence_key(&key, topic, partition, origin);
    const struct sequence *sequence = map_get(&sequences->last, buf_str(&key));
    return sequence ? sequence->last : 0;
}

void sequences_free(struct sequences *sequences) {
    map_free(&sequences->last, free);
}
