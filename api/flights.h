/* Writes on their way to the log: a connection is suspended before its record is handed over, and resumed exactly once,
 * by the log's report or by the deadline, whichever comes first.
 *
 * A thread of its own resumes connections in bunches and watches over the deadlines: waking the server's thread once
 * for many is much the cheaper. */
#ifndef ORDERLOG_API_FLIGHTS_H
#define ORDERLOG_API_FLIGHTS_H

#include "api/internal.h"
#include "producers/commands.h"

struct flights;

/* `each_tick` is called on the thread of flights several times a second. */
CHECK_RESULT bool flights_open(struct api *api, void (*each_tick)(struct api *api), struct flights **ret,
                               struct err *err);
/* Refuses further writes, waits until each flight has landed (those that the log leaves unanswered are taken as
 * unknown after timeout_ms) and its connection is resumed. */
void flights_land_all(struct flights *flights, int64_t timeout_ms);
/* After the server has stopped and the producer is closed. NULL is fine. */
void flights_close(struct flights *flights);

/* Appends the message as the request's command and, once it is acknowledged, goes on with `then`. A failure is answered
 * here, and `then` is not called. Without a command_id the request's own command is meant. */
void flight_start(struct request *request, const struct message *message, request_step *then);
/* The same for a record that goes ahead of the command's own: it has an id of its own and carries the command's. */
void flight_start_ahead(struct request *request, struct str id, const struct message *message, request_step *then);
/* On the connection's thread, when it was resumed. */
void flight_landed(struct request *request);
/* A request that ends while suspended (the server is torn down). */
void flight_abandon(struct flight *flight);

/* Whether the log took the last write, or has not refused one in the last seconds: for /readyz. */
bool flights_log_accepts(struct flights *flights);

/* Requests that have come and are being served, so that a stop can wait for their answers. */
void flights_request_began(struct flights *flights);
void flights_request_ended(struct flights *flights);
/* Waits until none is left; false on time-out. */
bool flights_wait_quiet(struct flights *flights, int64_t timeout_ms);

#endif
