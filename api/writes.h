/* What all commands have in common. */
#ifndef ORDERLOG_API_WRITES_H
#define ORDERLOG_API_WRITES_H

#include "api/answer.h"
#include "api/flights.h"
#include "api/json_body.h"
#include "api/request.h"

/* The fields of the request's body. */
struct fields write_fields(struct request *request);
/* True when nothing was wrong with the fields; else the problem is answered. */
CHECK_RESULT bool write_fields_end(struct request *request, struct fields *fields);
/* Whether params[0] is an id of the shopper's who asks; any id for an operator. Else 404 is answered. */
CHECK_RESULT bool write_owns(struct request *request);
/* Whether a SKU in the path is one; else 400 is answered. */
CHECK_RESULT bool write_sku(struct request *request, struct str sku);
/* Appends the message as the request's command. */
void write_command(struct request *request, const struct message *message, request_step *then);
/* The same for the order of params[0]: answers 202 or, when the client waits for it, the order. */
void write_order_command(struct request *request, const struct message *message);
/* The request's body_hash, for records. */
struct str write_body_hash(const struct request *request);

#endif
