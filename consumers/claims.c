#include "consumers/claims_internal.h"

#include <stdlib.h>

static const char *const outcomes[] = {[INTENT_NOTICE_OUTCOME_SENT] = "sent",
                                       [INTENT_NOTICE_OUTCOME_SUPPRESSED] = "suppressed",
                                       [INTENT_NOTICE_OUTCOME_FAILED] = "failed",
                                       [INTENT_NOTICE_OUTCOME_UNKNOWN] = "unknown"};

const char *claim_outcome_name(enum intent_notice_outcome outcome) {
    return outcomes[outcome];
}

enum intent_notice_outcome claim_outcome_of(struct str name) {
    for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++)
        if (str_eq(name, str_from(outcomes[i])))
            return (enum intent_notice_outcome)i;
    return INTENT_NOTICE_OUTCOME_UNKNOWN;
}

static bool table_valid(struct str name) {
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("._-", c)))
            return false;
    }
    return name.len >= 3 && name.len <= 255;
}

bool claims_open(const char *url, struct claims **ret, struct err *err) {
    struct str text = str_from(url), prefix = STR("dynamodb://");
    if (!text.len)
        return err_set(err, ERR_CONFIG, "ORDERLOG_CLAIMS is not set");
    struct claims *claims = mem_zalloc(sizeof *claims);
    pthread_mutex_init(&claims->lock, NULL);
    if (!str_starts_with(text, prefix)) {
        claims->ops = &claims_in_postgres;
        claims->url = mem_strdup(text);
        *ret = claims;
        return true;
    }
    struct str table = {text.ptr + prefix.len, text.len - prefix.len};
    claims->ops = &claims_in_dynamodb;
    claims->table = mem_strdup(table);
    if (!table_valid(table))
        err_set(err, ERR_CONFIG, "ORDERLOG_CLAIMS must name a table: dynamodb://TABLE");
    else if (dynamodb_open(&claims->db, err)) {
        *ret = claims;
        return true;
    }
    claims_close(claims);
    return false;
}

void claims_close(struct claims *claims) {
    if (!claims)
        return;
    pg_close(claims->pg);
    dynamodb_close(claims->db);
    pthread_mutex_destroy(&claims->lock);
    free(claims->table);
    free(claims->url);
    free(claims);
}

bool claims_take(struct claims *claims, struct str id, struct arena *arena, struct claim *ret, struct err *err) {
    return claims->ops->take(claims, id, arena, ret, err);
}

bool claims_settle(struct claims *claims, struct str id, enum intent_notice_outcome outcome, struct str reason,
                   struct err *err) {
    return claims->ops->settle(claims, id, outcomes[outcome], reason, err);
}

bool claims_give_back(struct claims *claims, struct str id, int64_t tries, struct err *err) {
    return claims->ops->give_back(claims, id, tries, err);
}

bool claims_told(struct claims *claims, struct str id, struct err *err) {
    return claims->ops->told(claims, id, err);
}

struct dynamodb *claims_dynamodb(struct claims *claims, const char **ret_table) {
    *ret_table = claims->table;
    return claims->db;
}
