/* The commands that a row shows: what a reader waits for (Orderlog-After, Prefer: wait).
 *
 * Several topics add to one list, in any interleaving, and a rebuild must come to the same list: so the 16 latest are
 * kept by (time, id) rather than by arrival.
 *
 * A command is there by its id and, where it is known with which body it came, by both: who sent another body with the
 * same key (and so the same id) is refused, which must not be taken for the outcome of the first one. */
#ifndef ORDERLOG_PROJECTIONS_COMMANDS_H
#define ORDERLOG_PROJECTIONS_COMMANDS_H

#include "core/base/arena.h"
#include "core/base/envelope.h"
#include "gen/types.h"

enum { COMMANDS_KEPT = 16 };

/* Notes the command that this record came of (its own id when it names none). `reason` with ptr NULL: not a refusal.
 * The lists are changed in place or replaced by ones in the arena; they share nothing with the arguments. */
void commands_note(struct arena *arena, struct str_list *ids, struct view_command_note_list *notes,
                   const struct envelope *envelope, struct str reason, struct str detail);

/* How it stands in the list with its body. */
struct str command_with_body(struct arena *arena, struct str id, struct str body_hash);

#endif
