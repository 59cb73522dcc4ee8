#include "projections/commands.h"

#include "core/domain/reason.h"

struct command {
    struct str id;
    struct view_command_note note;
};

static bool command_before(const struct command *a, struct str id, int64_t at) {
    return a->note.at != at ? a->note.at < at : str_cmp(a->id, id) < 0;
}

/* Of the records of one command the latest counts, whichever is read first; at the same time, a refusal. */
static bool note_replaces(const struct view_command_note *held, int64_t at, struct str reason, struct str detail) {
    if (held->at != at)
        return held->at < at;
    if (!reason.ptr || !held->refusal)
        return reason.ptr != NULL;
    int order = str_cmp(held->refusal->reason, reason);
    return order ? order < 0 : str_cmp(held->refusal->detail, detail) < 0;
}

/* Leaves the place at the end free. */
static bool command_take(struct str_list *ids, struct view_command_note_list *notes, struct str id,
                         struct command *ret) {
    for (size_t i = ids->count; i-- > 0;) {
        if (!str_eq(ids->items[i], id))
            continue;
        *ret = (struct command){ids->items[i], notes->items[i]};
        size_t behind = --ids->count - i;
        notes->count--;
        memmove(&ids->items[i], &ids->items[i + 1], behind * sizeof(ids->items[0]));
        memmove(&notes->items[i], &notes->items[i + 1], behind * sizeof(notes->items[0]));
        return true;
    }
    return false;
}

/* One more place at the end; the lists that were decoded have none. */
static void lists_grow(struct arena *arena, struct str_list *ids, struct view_command_note_list *notes) {
    struct str *new_ids = arena_array(arena, struct str, ids->count + 1);
    struct view_command_note *new_notes = arena_array(arena, struct view_command_note, ids->count + 1);
    if (ids->count) {
        memcpy(new_ids, ids->items, ids->count * sizeof(new_ids[0]));
        memcpy(new_notes, notes->items, ids->count * sizeof(new_notes[0]));
    }
    ids->items = new_ids;
    notes->items = new_notes;
}

/* The first `held` places are taken, the one behind them is free. */
static void command_put(struct str *ids, struct view_command_note *notes, size_t held, const struct command *command) {
    size_t at = held;
    for (; at > 0 && command_before(command, ids[at - 1], notes[at - 1].at); at--) {
        ids[at] = ids[at - 1];
        notes[at] = notes[at - 1];
    }
    ids[at] = command->id;
    notes[at] = command->note;
}

/* In the place of the oldest, unless it is older still. */
static void command_push(struct str_list *ids, struct view_command_note_list *notes, const struct command *command) {
    if (command_before(command, ids->items[0], notes->items[0].at))
        return;
    memmove(&ids->items[0], &ids->items[1], (ids->count - 1) * sizeof(ids->items[0]));
    memmove(&notes->items[0], &notes->items[1], (notes->count - 1) * sizeof(notes->items[0]));
    command_put(ids->items, notes->items, ids->count - 1, command);
}

static struct view_command_note note_new(struct arena *arena, int64_t at, struct str reason, struct str detail) {
    struct view_command_note note = {at, NULL};
    if (reason.ptr) {
        note.refusal = arena_new(arena, struct view_refusal);
        *note.refusal = (struct view_refusal){arena_dup(arena, reason), arena_dup(arena, detail)};
    }
    return note;
}

static void note(struct arena *arena, struct str_list *ids, struct view_command_note_list *notes, struct str id,
                 int64_t at, struct str reason, struct str detail) {
    struct command command = {0};
    bool known = command_take(ids, notes, id, &command);
    if (!known)
        command.id = arena_dup(arena, id);
    if (!known || note_replaces(&command.note, at, reason, detail))
        command.note = note_new(arena, at, reason, detail);
    if (!known && ids->count >= COMMANDS_KEPT) {
        command_push(ids, notes, &command);
        return;
    }
    if (!known)
        lists_grow(arena, ids, notes);
    command_put(ids->items, notes->items, ids->count, &command);
    notes->count = ++ids->count;
}

struct str command_with_body(struct arena *arena, struct str id, struct str body_hash) {
    return arena_printf(arena, "%.*s#%.*s", STR_ARG(id), STR_ARG(body_hash));
}

void commands_note(struct arena *arena, struct str_list *ids, struct view_command_note_list *notes,
                   const struct envelope *envelope, struct str reason, struct str detail) {
    struct str id = envelope->command_id.ptr ? envelope->command_id : envelope->id;
    bool reused = str_eq(reason, reason_slug(REASON_IDEMPOTENCY_KEY_REUSED));
    if (envelope->body_hash.ptr)
        note(arena, ids, notes, command_with_body(arena, id, envelope->body_hash), envelope->timestamp_us, reason,
             detail);
    if (!envelope->body_hash.ptr || !reused)
        note(arena, ids, notes, id, envelope->timestamp_us, reason, detail);
}
