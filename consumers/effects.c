#include "consumers/effects.h"

#include <pthread.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/thread.h"
#include "core/codec/wire.h"

enum { AGAIN_FIRST_MS = 1000, AGAIN_LAST_MS = 300000 };

struct task {
    struct task *next;
    int64_t due_us; /* monotonic */
    struct effect_result *result;
};

struct effects {
    effect_call *call;
    void *user;
    effects_wake *wake;
    void *wake_user;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    struct task *waiting; /* by due_us */
    struct task *answered;
    struct task **answered_end;
    int in_flight;
    bool stopping;
    int thread_count;
    pthread_t threads[];
};

struct effect_result *effect_copy(const struct effect *effect) {
    struct effect_result *result = mem_zalloc(sizeof(*result));
    struct arena *arena = &result->arena;
    arena_init(arena);
    result->effect = *effect;
    result->effect.id = arena_dup(arena, effect->id);
    result->effect.key = arena_dup(arena, effect->key);
    result->effect.command_id = arena_dup(arena, effect->command_id);
    result->effect.traceparent = arena_dup(arena, effect->traceparent);
    result->effect.request = arena_dup(arena, effect->request);
    return result;
}

void effect_result_free(struct effect_result *result) {
    if (!result)
        return;
    arena_free(&result->arena);
    free(result);
}

const struct schema_subject *effect_subject(enum message_type request) {
    return schema_subject_find(request == MESSAGE_INTENT_SEND_NOTICE ? STR("intent/notice") : STR("intent/payment"));
}

bool effect_is_open(const struct message *answer) {
    return (answer->type == MESSAGE_INTENT_PROVIDER_ANSWERED &&
            answer->intent_provider_answered.outcome == INTENT_PROVIDER_OUTCOME_UNKNOWN) ||
           (answer->type == MESSAGE_INTENT_NOTICE_ANSWERED &&
            answer->intent_notice_answered.outcome == INTENT_NOTICE_OUTCOME_UNKNOWN);
}

static void answer_closed(const struct message *request, struct message *answer) {
    if (request->type == MESSAGE_INTENT_SEND_NOTICE) {
        const struct intent_send_notice *notice = &request->intent_send_notice;
        answer->type = MESSAGE_INTENT_NOTICE_ANSWERED;
        answer->intent_notice_answered = (struct intent_notice_answered){.order_id = notice->order_id,
                                                                         .template = notice->template,
                                                                         .cause = notice->cause,
                                                                         .channel = STR(""),
                                                                         .outcome = INTENT_NOTICE_OUTCOME_FAILED,
                                                                         .reason = STR("closed-by-operator")};
        return;
    }
    const struct intent_call_provider *call = &request->intent_call_provider;
    answer->type = MESSAGE_INTENT_PROVIDER_ANSWERED;
    answer->intent_provider_answered =
        (struct intent_provider_answered){.action = call->action,
                                          .order_id = call->order_id,
                                          .payment_id = call->payment_id,
                                          .attempt = call->attempt,
                                          .amount = call->amount,
                                          .outcome = INTENT_PROVIDER_OUTCOME_FAILED,
                                          .code = STR("closed-by-operator"),
                                          .provider = STR("operator"),
                                          .provider_ref = call->provider_ref.ptr ? call->provider_ref : STR("")};
}

/* The bytes say which schema they are of, and so which subject's: the one that names it. */
static bool read_request(struct effect_result *result, struct message *ret) {
    static const char *const subjects[] = {"intent/payment", "intent/notice"};
    for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++) {
        const struct schema_subject *subject = schema_subject_find(str_from(subjects[i]));
        struct str rest = result->effect.request;
        const struct schema_version *version;
        if (wire_take(subject, &rest, &result->arena, &version, NULL))
            return message_decode(subject, result->effect.request, &result->arena, ret, &result->err) ||
                   err_wrap(&result->err, "the intent cannot be read");
    }
    return err_set(&result->err, ERR_UNKNOWN_SCHEMA, "the intent cannot be read: its schema is no intent's");
}

static void run_call(struct effects *effects, struct effect_result *result) {
    struct message request;
    if (read_request(result, &request)) {
        if (request.type != MESSAGE_INTENT_CALL_PROVIDER && request.type != MESSAGE_INTENT_SEND_NOTICE) {
            err_set(&result->err, ERR_POISON, "the intent is no call to the outside");
        } else if (result->effect.closed) {
            answer_closed(&request, &result->answer);
        } else {
            if (request.type == MESSAGE_INTENT_CALL_PROVIDER)
                request.intent_call_provider.look_up = clock_now_us() - result->effect.created_us >= EFFECT_GIVE_UP_US;
            effects->call(effects->user, &request, result->effect.traceparent, &result->arena, &result->answer);
        }
    }
    result->at_us = clock_now_us();
}

/* With the lock held: the first task that is due, or NULL after waiting for one. */
static struct task *next_due(struct effects *effects) {
    if (!effects->waiting) {
        pthread_cond_wait(&effects->changed, &effects->lock);
        return NULL;
    }
    int64_t wait_us = effects->waiting->due_us - clock_monotonic_us();
    if (wait_us > 0) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        int64_t ns = until.tv_nsec + wait_us % 1000000 * 1000;
        until.tv_sec += (time_t)(wait_us / 1000000 + ns / 1000000000);
        until.tv_nsec = (long)(ns % 1000000000);
        pthread_cond_timedwait(&effects->changed, &effects->lock, &until);
        return NULL;
    }
    struct task *task = effects->waiting;
    effects->waiting = task->next;
    task->next = NULL;
    if (effects->waiting) /* this thread may have been the only one to wait for it */
        pthread_cond_signal(&effects->changed);
    return task;
}

static void *caller_main(void *user) {
    struct effects *effects = user;
    thread_name("outside-calls");
    pthread_mutex_lock(&effects->lock);
    while (!effects->stopping) {
        struct task *task = next_due(effects);
        if (!task)
            continue;
        effects->in_flight++;
        pthread_mutex_unlock(&effects->lock);
        run_call(effects, task->result);
        pthread_mutex_lock(&effects->lock);
        effects->in_flight--;
        *effects->answered_end = task;
        effects->answered_end = &task->next;
        effects->wake(effects->wake_user);
    }
    pthread_mutex_unlock(&effects->lock);
    return NULL;
}

struct effects *effects_open(effect_call *call, void *user, int threads, effects_wake *wake, void *wake_user) {
    struct effects *effects = mem_zalloc(sizeof(*effects) + (size_t)threads * sizeof(pthread_t));
    effects->call = call;
    effects->user = user;
    effects->wake = wake;
    effects->wake_user = wake_user;
    effects->answered_end = &effects->answered;
    pthread_mutex_init(&effects->lock, NULL);
    thread_cond_init(&effects->changed);
    for (int i = 0; i < threads; i++)
        if (pthread_create(&effects->threads[effects->thread_count], NULL, caller_main, effects) == 0)
            effects->thread_count++;
    if (!effects->thread_count)
        abort(); /* no thread can be had: the machine is out of resources */
    return effects;
}

static void free_tasks(struct task *task) {
    while (task) {
        struct task *next = task->next;
        effect_result_free(task->result);
        free(task);
        task = next;
    }
}

void effects_stop(struct effects *effects) {
    pthread_mutex_lock(&effects->lock);
    effects->stopping = true;
    pthread_cond_broadcast(&effects->changed);
    pthread_mutex_unlock(&effects->lock);
}

bool effects_pending(struct effects *effects) {
    pthread_mutex_lock(&effects->lock);
    bool pending = effects->in_flight || effects->answered;
    pthread_mutex_unlock(&effects->lock);
    return pending;
}

void effects_close(struct effects *effects) {
    if (!effects)
        return;
    effects_stop(effects);
    for (int i = 0; i < effects->thread_count; i++)
        pthread_join(effects->threads[i], NULL);
    free_tasks(effects->waiting);
    free_tasks(effects->answered);
    pthread_cond_destroy(&effects->changed);
    pthread_mutex_destroy(&effects->lock);
    free(effects);
}

static void add_task(struct effects *effects, struct effect_result *result, int64_t delay_ms) {
    struct task *task = mem_zalloc(sizeof(*task));
    task->result = result;
    task->due_us = clock_monotonic_us() + delay_ms * 1000;
    pthread_mutex_lock(&effects->lock);
    struct task **at = &effects->waiting;
    while (*at && (*at)->due_us <= task->due_us)
        at = &(*at)->next;
    task->next = *at;
    *at = task;
    pthread_cond_signal(&effects->changed);
    pthread_mutex_unlock(&effects->lock);
}

void effects_add(struct effects *effects, const struct effect *effect) {
    add_task(effects, effect_copy(effect), 0);
}

void effects_again(struct effects *effects, const struct effect *effect) {
    struct effect_result *result = effect_copy(effect);
    int64_t delay_ms = AGAIN_FIRST_MS;
    for (int32_t i = 0; i < effect->tries && delay_ms < AGAIN_LAST_MS; i++)
        delay_ms *= 2;
    result->effect.tries++;
    add_task(effects, result, delay_ms < AGAIN_LAST_MS ? delay_ms : AGAIN_LAST_MS);
}

void effects_hurry(struct effects *effects, int32_t shard, struct str id) {
    pthread_mutex_lock(&effects->lock);
    for (struct task **at = &effects->waiting; *at; at = &(*at)->next) {
        struct task *task = *at;
        if (task->result->effect.shard != shard || !str_eq(task->result->effect.id, id))
            continue;
        *at = task->next;
        task->due_us = 0;
        task->next = effects->waiting;
        effects->waiting = task;
        pthread_cond_signal(&effects->changed);
        break;
    }
    pthread_mutex_unlock(&effects->lock);
}

/* With the lock held. Returns where the list ends now. */
static struct task **remove_shard(struct task **at, int32_t shard) {
    while (*at) {
        struct task *task = *at;
        if (task->result->effect.shard != shard) {
            at = &task->next;
            continue;
        }
        *at = task->next;
        effect_result_free(task->result);
        free(task);
    }
    return at;
}

void effects_drop(struct effects *effects, int32_t shard) {
    pthread_mutex_lock(&effects->lock);
    remove_shard(&effects->waiting, shard);
    effects->answered_end = remove_shard(&effects->answered, shard);
    pthread_mutex_unlock(&effects->lock);
}

struct effect_result *effects_take(struct effects *effects) {
    pthread_mutex_lock(&effects->lock);
    struct task *task = effects->answered;
    struct effect_result *result = NULL;
    if (task) {
        effects->answered = task->next;
        if (!effects->answered)
            effects->answered_end = &effects->answered;
        result = task->result;
        free(task);
    }
    pthread_mutex_unlock(&effects->lock);
    return result;
}
