/* The payment provider, as payments' intents call it (section 6 of the design).
 *
 *   instant                 authorises in the process: for benchmarks
 *   http://… or https://…   speaks Stripe's PaymentIntents API: the sandbox, or Stripe
 *                           (https://docs.stripe.com/api/payment_intents)
 *
 * Every call carries the intent's idempotency key, so that a repetition is the same call. Thread-safe. */
#ifndef ORDERLOG_CONSUMERS_PROVIDER_H
#define ORDERLOG_CONSUMERS_PROVIDER_H

#include "consumers/effects.h"
#include "core/base/err.h"

struct provider;

enum { PROVIDER_TIMEOUT_MS = 10000 }; /* that a call may take, unless the setting says otherwise */

/* `secret` is the API key (not used by instant); copied. */
CHECK_RESULT bool provider_open(const char *url, struct str secret, int64_t timeout_ms, struct provider **ret,
                                struct err *err);
void provider_close(struct provider *provider);

/* As loop_config has it: nothing is won by several at once where nothing is waited for. */
int provider_calls_at_once(const struct provider *provider);

/* An effect_call; `user` is the struct provider. What was answered, and what was not, becomes an outcome:
 *   2xx: succeeded, with the amount that the provider says · 402: declined · 4xx: failed, or expired when the
 *   authorisation is gone
 *   no answer, 3xx, 408, 409, 425, 429, 5xx, 401, 403, or a body that is not the provider's: unknown, and the call is
 *   made again (some of these are ours to mend)
 * A look (and a call with look_up, for which it is too late) reads what there is: succeeded, captured, expired,
 * declined, pending or missing. Another amount than was asked for is an alarm: provider.amount_mismatch in the log, and
 * orderlog_provider_mismatches_total. */
void provider_call(void *user, const struct message *request, struct str traceparent, struct arena *arena,
                   struct message *answer);

#endif
