/* Claims in DynamoDB: an item each, taken by a conditional write. */
#include "consumers/claims_internal.h"

#include "core/base/clock.h"

static json_t *update(const struct claims *claims, struct str id, const char *expression) {
    BUF_AUTO key = {0};
    buf_printf(&key, "notice#%.*s", STR_ARG(id));
    return json_pack("{s:s, s:{s:o}, s:s, s:{}}", "TableName", claims->table, "Key", "id", dynamodb_text(buf_str(&key)),
                     "UpdateExpression", expression, "ExpressionAttributeValues");
}

static void give_value(json_t *request, const char *name, json_t *value) {
    json_object_set_new(json_object_get(request, "ExpressionAttributeValues"), name, value);
}

/* "told", "outcome" and the like are no reserved words today; these stand in for them whatever they become. */
static void name_attributes(json_t *request) {
    json_object_set_new(request, "ExpressionAttributeNames",
                        json_pack("{s:s, s:s}", "#outcome", "outcome", "#held", "held_until_ms"));
}

static bool take(struct claims *claims, struct str id, struct arena *arena, struct claim *ret, struct err *err) {
    int64_t now_ms = clock_now_us() / 1000;
    json_t *answer = NULL;
    json_t *request = update(claims, id, "SET #held = :until, expires_at = :expires ADD tries :one");
    name_attributes(request);
    json_object_set_new(
        request, "ConditionExpression",
        json_string("attribute_not_exists(#outcome) AND (attribute_not_exists(#held) OR #held < :now)"));
    json_object_set_new(request, "ReturnValues", json_string("UPDATED_NEW"));
    json_object_set_new(request, "ReturnValuesOnConditionCheckFailure", json_string("ALL_OLD"));
    give_value(request, ":until", dynamodb_number(now_ms + CLAIM_HOLD_MS));
    give_value(request, ":expires", dynamodb_number(now_ms / 1000 + INT64_C(86400) * CLAIM_KEPT_DAYS));
    give_value(request, ":now", dynamodb_number(now_ms));
    give_value(request, ":one", dynamodb_number(1));
    enum dynamodb_result result = dynamodb_call(claims->db, "UpdateItem", request, &answer, err);
    if (result == DYNAMODB_DONE) {
        *ret = (struct claim){.state = CLAIM_TAKEN,
                              .tries = dynamodb_get_number(json_object_get(answer, "Attributes"), "tries", 1),
                              .reason = STR("")};
    } else if (result == DYNAMODB_NOT_SO) {
        const json_t *item = json_object_get(answer, "Item");
        struct str outcome = dynamodb_get_text(item, "outcome"), reason = dynamodb_get_text(item, "reason");
        *ret = (struct claim){.state = outcome.ptr ? CLAIM_OVER : CLAIM_HELD,
                              .outcome = claim_outcome_of(outcome),
                              .reason = reason.ptr ? arena_dup(arena, reason) : STR(""),
                              .told = dynamodb_get_number(item, "told", 0) == 1};
    }
    json_decref(answer);
    return result != DYNAMODB_FAILED || err_wrap(err, "claiming in %s", claims->table);
}

static bool run(struct claims *claims, const char *operation, json_t *request, struct err *err) {
    return dynamodb_call(claims->db, operation, request, NULL, err) != DYNAMODB_FAILED ||
           err_wrap(err, "claims in %s", claims->table);
}

static bool settle(struct claims *claims, struct str id, const char *outcome, struct str reason, struct err *err) {
    json_t *request = update(claims, id, "SET #outcome = :outcome, reason = :reason REMOVE #held");
    name_attributes(request);
    give_value(request, ":outcome", dynamodb_text(str_from(outcome)));
    give_value(request, ":reason", dynamodb_text(reason));
    return run(claims, "UpdateItem", request, err);
}

static bool give_back(struct claims *claims, struct str id, int64_t tries, struct err *err) {
    json_t *request = update(claims, id, "REMOVE #held");
    name_attributes(request);
    json_object_set_new(request, "ConditionExpression",
                        json_string("attribute_not_exists(#outcome) AND tries = :tries"));
    give_value(request, ":tries", dynamodb_number(tries));
    return run(claims, "UpdateItem", request, err);
}

static bool told(struct claims *claims, struct str id, struct err *err) {
    json_t *request = update(claims, id, "SET told = :one");
    give_value(request, ":one", dynamodb_number(1));
    return run(claims, "UpdateItem", request, err);
}

const struct claims_ops claims_in_dynamodb = {take, settle, give_back, told};
