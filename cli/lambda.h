/* The notifier as a function on AWS Lambda (provided.al2023): this program, started as `bootstrap`.
 *
 * Lambda reads shop.order.events.v1, shop.payment.events.v1 and shop.personal.v1 from MSK and hands over batches. What
 * the decider has in PostgreSQL is in the claims' table of DynamoDB here, an item each:
 *
 *   order#ID               what its OrderPlaced said, for half a year
 *   address#SHOPPER/REF    the e-mail address, by the place of its record in the log; a tombstone takes it away
 *   notice#ORDER/…         claims (consumers/claims.h)
 *
 * The brokers are those that ORDERLOG_LOG names, or else those that the first batch came from. What came of a notice is
 * appended to shop.notification.events.v1 before the batch is answered. */
#ifndef ORDERLOG_CLI_LAMBDA_H
#define ORDERLOG_CLI_LAMBDA_H

#include <jansson.h>

#include "consumers/notifier.h"
#include "core/aws/dynamodb.h"
#include "core/log/append.h"

/* The whole process: an exit code. */
int lambda_main(void);

/* ---- lambda_records.c: what is done with one record ---- */

struct lambda {
    struct notifier notifier;
    struct dynamodb *db; /* the claims' */
    const char *table;
    struct log *log; /* NULL: not opened yet */
    struct log_producer *producer;
};

/* The log for what came of notices. */
CHECK_RESULT bool lambda_open_log(struct lambda *lambda, const char *url, struct err *err);

/* False: it is to come again. Arena: of the record. */
CHECK_RESULT bool lambda_take_record(struct lambda *lambda, const struct log_record *record, struct arena *arena,
                                     struct err *err);
/* The notifier_address of these tables; `user` is the struct lambda. */
notifier_address lambda_address;

/* ---- lambda_event.c: a batch as Lambda gives it ---- */

/* Takes the records of each partition in order, until one fails or there is no time left; `deadline_us` by the wall
 * clock. *ret is the answer: which partitions are to be given again, and from where on. ERR_INVALID_BODY: the event is
 * no batch of records from Kafka; or the log cannot be opened. */
CHECK_RESULT bool lambda_take_event(struct lambda *lambda, struct str event, int64_t deadline_us, struct buf *ret,
                                    struct err *err);

#endif
