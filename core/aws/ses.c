#include "core/aws/ses.h"

#include <jansson.h>
#include <stdlib.h>

#include "core/aws/service.h"

enum { TIMEOUT_MS = 15000 };

static const struct aws_service_name service_name = {"ses", "email", "AWS_ENDPOINT_URL_SESV2"};

struct ses {
    struct aws_service *service;
    char *configuration_set; /* NULL: none */
};

bool ses_open(const char *configuration_set, struct ses **ret, struct err *err) {
    struct ses *ses = mem_zalloc(sizeof *ses);
    if (!aws_service_open(&service_name, &ses->service, err)) {
        free(ses);
        return false;
    }
    ses->configuration_set = configuration_set ? mem_strdup(str_from(configuration_set)) : NULL;
    *ret = ses;
    return true;
}

void ses_close(struct ses *ses) {
    if (!ses)
        return;
    aws_service_close(ses->service);
    free(ses->configuration_set);
    free(ses);
}

static json_t *text_json(struct str text) {
    return json_pack("{s:s%, s:s}", "Data", text.ptr, text.len, "Charset", "UTF-8");
}

/* NULL: a text that is no UTF-8. */
static char *request_body(const struct ses *ses, const struct ses_mail *mail) {
    json_t *json =
        json_pack("{s:s%, s:{s:[s%]}, s:{s:{s:o, s:{s:o, s:o}}}}", "FromEmailAddress", mail->from.ptr, mail->from.len,
                  "Destination", "ToAddresses", mail->to.ptr, mail->to.len, "Content", "Simple", "Subject",
                  text_json(mail->subject), "Body", "Text", text_json(mail->text), "Html", text_json(mail->html));
    if (json && ses->configuration_set)
        json_object_set_new(json, "ConfigurationSetName", json_string(ses->configuration_set));
    char *body = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    return body;
}

/* The rest is ours to mend (sending paused, no right), or passes. So is a sender that is not verified, which SES
 * refuses by the name that it also has for messages that it does not like. */
static bool is_for_good(const struct http_answer *answer, const char *exception) {
    struct str body = buf_str(&answer->body);
    if (memmem(body.ptr, body.len, "not verified", 12))
        return false;
    return answer->status == 400 &&
           (strcmp(exception, "MessageRejected") == 0 || strcmp(exception, "BadRequestException") == 0);
}

enum ses_outcome ses_send(struct ses *ses, const struct ses_mail *mail, struct err *err) {
    HTTP_ANSWER_AUTO answer = {0};
    char *body = request_body(ses, mail);
    if (!body) {
        err_set(err, ERR_INTERNAL, "the message is no UTF-8");
        return SES_REFUSED;
    }
    bool answered = aws_service_call(ses->service,
                                     &(struct aws_service_request){.path = "/v2/email/outbound-emails",
                                                                   .type = "application/json",
                                                                   .body = str_from(body),
                                                                   .timeout_ms = TIMEOUT_MS},
                                     &answer, err);
    free(body);
    if (!answered)
        return SES_AGAIN;
    if (answer.status == 200)
        return SES_SENT;
    BUF_AUTO exception = {0};
    aws_service_exception(&answer, &exception);
    const char *name = exception.len ? exception.ptr : "";
    err_set(err, ERR_IO, "SES answered HTTP %ld%s%s", answer.status, *name ? " " : "", name);
    return is_for_good(&answer, name) ? SES_REFUSED : SES_AGAIN;
}
