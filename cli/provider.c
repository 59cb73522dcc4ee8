/* orderlog provider: a sandbox that stands in for the payment provider. */
#include "cli/cli.h"
#include "cli/provider_events.h"
#include "cli/provider_stripe.h"
#include "core/base/config.h"
#include "core/base/ids.h"
#include "core/base/logging.h"

#include <errno.h>
#include <getopt.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FAULT_LINE(rate, token, what) "  " rate " (pm_sandbox_" token "): " what "\n"

const char provider_help[] =
    "Usage: orderlog provider --db FILE [--listen HOST:PORT] [--webhooks URL] [--fault NAME=RATE,...]\n"
    "\n"
    "Stands in for the payment provider on this machine: a server that speaks the part of Stripe's API that orderlog\n"
    "uses. No money moves. What it has answered is on disk before it answers, so that it may be killed at any time.\n"
    "\n"
    "  POST /v1/payment_intents               amount, currency, capture_method, confirm, payment_method, "
    "metadata[...]\n"
    "  GET  /v1/payment_intents/ID\n"
    "  GET  /v1/payment_intents/search        query: metadata['name']:'value', joined by AND\n"
    "  POST /v1/payment_intents/ID/capture    amount_to_capture\n"
    "  POST /v1/payment_intents/ID/cancel     cancellation_reason\n"
    "  POST /v1/refunds                       payment_intent, amount, reason\n"
    "  GET  /sandbox/ledger                   all that it knows, as JSON\n"
    "\n"
    "Requests carry the secret as `Authorization: Bearer SECRET`, or as the user name of Basic authentication. A POST\n"
    "with an Idempotency-Key is done once; the same key with other parameters is an error (400).\n"
    "\n"
    "Payment methods: pm_card_visa (and _mastercard, _amex, _discover, _us, _visa_debit) pay; pm_card_chargeDeclined,\n"
    "pm_card_chargeDeclinedInsufficientFunds, ...LostCard and ...StolenCard are declined (402). pm_sandbox_FAULT "
    "pays,\n"
    "but for what goes wrong with it: once, or N times with pm_sandbox_FAULT_N.\n"
    "\n"
    "Faults, by --fault NAME=RATE (1%, 0.01) or as a payment method's FAULT:\n"
#define X(constant, rate, token, what) FAULT_LINE(rate, token, what)
    PROVIDER_FAULTS(X)
#undef X
        "  timeouts: timeouts-before and timeouts-after\n"
        "\n"
        "Options:\n"
        "  --db FILE            the SQLite file that it keeps its state in; made if need be\n"
        "  --listen HOST:PORT   where to listen (default: 127.0.0.1:12111); port 0 takes a free one\n"
        "  --webhooks URL       send signed events there, again and again until they are taken\n"
        "  --fault NAME=RATE    what goes wrong with POST requests, and how often; several with commas between\n"
        "  --seed N             for what is rolled by these rates: the same requests meet the same faults (0)\n"
        "  --after SECONDS      until what happens later does (5)\n"
        "  -h, --help           this text\n"
        "\n"
        "Settings: ORDERLOG_PROVIDER_SECRET, its API key, and ORDERLOG_WEBHOOK_SECRET, for --webhooks; or in files "
        "that are\n"
        "named by ORDERLOG_PROVIDER_SECRET_FILE and ORDERLOG_WEBHOOK_SECRET_FILE.\n"
        "\n"
        "Says where it listens on standard output. Ends on SIGTERM or SIGINT.\n"
        "\n"
        "Exit codes: 0 ended; 2 wrong usage, or it could not start.\n"
        "\n"
        "Examples:\n"
        "  ORDERLOG_PROVIDER_SECRET=sk_test_1 orderlog provider --db provider.db --listen 127.0.0.1:12111\n"
        "  curl -u sk_test_1: http://127.0.0.1:12111/v1/payment_intents -d amount=1999 -d currency=usd \\\n"
        "       -d capture_method=manual -d confirm=true -d payment_method=pm_card_visa\n";

enum { BODY_MAX = 64 * 1024, IDLE_SECONDS = 120, HANG_MS = 60000, SLOW_MS = 1500, EARLY_MS = 300 };

struct server {
    struct provider_store *store;
    pthread_mutex_t lock; /* of the store */
    struct provider_rates rates;
    int64_t after_ms;
    const char *webhooks; /* NULL: none are sent */
    struct provider_events *events;
    struct str secret;
    int socket;
    pthread_mutex_t stop_lock; /* guards `stopping` */
    pthread_cond_t stopped;
    bool stopping;
};

struct upload {
    struct buf body;
    bool too_large;
};

/* ---- requests ---- */

static struct str header_get(struct MHD_Connection *connection, const char *name) {
    return str_from(MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name));
}

static bool secret_equal(const struct server *server, struct str given) {
    return given.len == server->secret.len && bytes_equal_secret(given.ptr, server->secret.ptr, given.len);
}

static bool is_authorized(const struct server *server, struct MHD_Connection *connection) {
    struct str header = header_get(connection, MHD_HTTP_HEADER_AUTHORIZATION), bearer = STR("Bearer ");
    if (str_starts_with(header, bearer))
        return secret_equal(server, (struct str){header.ptr + bearer.len, header.len - bearer.len});
    char *password = NULL, *user = MHD_basic_auth_get_username_password(connection, &password);
    bool authorized = user && secret_equal(server, str_from(user));
    MHD_free(user);
    MHD_free(password);
    return authorized;
}

static enum MHD_Result respond(struct MHD_Connection *connection, const struct stripe_response *answer) {
    struct MHD_Response *response =
        MHD_create_response_from_buffer(answer->body.len, answer->body.ptr, MHD_RESPMEM_MUST_COPY);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    if (answer->replayed)
        MHD_add_response_header(response, "Idempotent-Replayed", "true");
    enum MHD_Result result = MHD_queue_response(connection, (unsigned)answer->status, response);
    MHD_destroy_response(response);
    return result;
}

/* Or until the server stops. */
static void sleep_for(struct server *server, int64_t ms) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&server->stop_lock);
    while (!server->stopping && pthread_cond_timedwait(&server->stopped, &server->stop_lock, &until) == 0)
        ;
    pthread_mutex_unlock(&server->stop_lock);
}

/* With the store's lock held. Whether it comes to be done at all is a matter of its faults. */
static bool answer_locked(struct server *server, struct stripe_request *request, struct stripe_response *answer,
                          struct err *err) {
    if (!stripe_faults_find(server->store, &server->rates, request, &request->faults, err))
        return false;
    if (provider_has(request->faults, PROVIDER_FAULT_TIMEOUT_BEFORE) ||
        provider_has(request->faults, PROVIDER_FAULT_ERROR))
        return true;
    return stripe_answer(server->store, request, answer, err);
}

/* False: the connection is to be closed without an answer. */
static bool go_wrong(struct server *server, const struct stripe_request *request, struct stripe_response *answer) {
    provider_faults faults = request->faults;
    if (provider_has(faults, PROVIDER_FAULT_TIMEOUT_BEFORE) || provider_has(faults, PROVIDER_FAULT_TIMEOUT_AFTER)) {
        sleep_for(server, HANG_MS);
        return false;
    }
    if (provider_has(faults, PROVIDER_FAULT_EARLY))
        sleep_for(server, EARLY_MS);
    if (provider_has(faults, PROVIDER_FAULT_SLOW))
        sleep_for(server, SLOW_MS);
    if (provider_has(faults, PROVIDER_FAULT_ERROR) || provider_has(faults, PROVIDER_FAULT_ERROR_AFTER) ||
        provider_has(faults, PROVIDER_FAULT_UNHEARD))
        stripe_error(answer, 500, "api_error", NULL, NULL, "An unknown error occurred");
    return true;
}

static bool handle(struct server *server, struct MHD_Connection *connection, const char *url, const char *method,
                   const struct upload *upload, struct stripe_response *answer) {
    struct stripe_request request = {
        .method = str_from(method),
        .path = str_from(url),
        .body = buf_str(&upload->body),
        .query = str_from(MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "query")),
        .idempotency_key = header_get(connection, "Idempotency-Key"),
        .after_ms = server->after_ms,
        .webhooks = server->webhooks != NULL};
    struct err err = {0};
    if (!is_authorized(server, connection)) {
        stripe_error(answer, 401, "invalid_request_error", NULL, NULL, "Invalid API Key provided.");
        return true;
    }
    if (upload->too_large) {
        stripe_error(answer, 413, "invalid_request_error", NULL, NULL, "The request is over %d bytes.", (int)BODY_MAX);
        return true;
    }
    pthread_mutex_lock(&server->lock);
    bool ok = answer_locked(server, &request, answer, &err);
    pthread_mutex_unlock(&server->lock);
    provider_events_wake(server->events);
    if (ok)
        return go_wrong(server, &request, answer);
    logging_err(&err, "provider.failed", "method=%s path=%s", method, url);
    stripe_error(answer, 500, "api_error", NULL, NULL, "The request could not be kept.");
    return true;
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *data, size_t *size, void **state) {
    (void)version;
    struct upload *upload = *state;
    if (!upload) {
        *state = mem_zalloc(sizeof *upload);
        return MHD_YES;
    }
    if (*size) {
        upload->too_large = upload->too_large || upload->body.len + *size > BODY_MAX;
        if (!upload->too_large)
            buf_add(&upload->body, data, *size);
        *size = 0;
        return MHD_YES;
    }
    struct stripe_response answer = {0};
    bool answered = handle(user, connection, url, method, upload, &answer);
    enum MHD_Result result = answered ? respond(connection, &answer) : MHD_NO;
    buf_free(&answer.body);
    return result;
}

static void on_completed(void *user, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code) {
    (void)user, (void)connection, (void)code;
    struct upload *upload = *state;
    if (!upload)
        return;
    buf_free(&upload->body);
    free(upload);
    *state = NULL;
}

/* ---- the server ---- */

/* HOST:PORT; an IPv6 address may be in brackets. */
static bool address_split(const char *text, struct buf *host, struct buf *port) {
    const char *colon = strrchr(text, ':');
    if (!colon || colon == text || !colon[1])
        return false;
    struct str name = {text, (size_t)(colon - text)};
    if (name.len > 2 && name.ptr[0] == '[' && name.ptr[name.len - 1] == ']')
        name = (struct str){name.ptr + 1, name.len - 2};
    buf_add_str(host, name);
    buf_printf(port, "%s", colon + 1);
    return true;
}

static bool socket_listen(const struct addrinfo *address, int *ret) {
    int one = 1, fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
        bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0) {
        *ret = fd;
        return true;
    }
    close(fd);
    return false;
}

static bool server_listen(const char *text, int *ret, struct err *err) {
    BUF_AUTO host = {0};
    BUF_AUTO port = {0};
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found;
    if (!address_split(text, &host, &port))
        return err_set(err, ERR_USAGE, "--listen must be HOST:PORT, not '%s'", text);
    int failed = getaddrinfo(host.ptr, port.ptr, &hints, &found);
    if (failed)
        return err_set(err, ERR_CONFIG, "--listen %s: %s", text, gai_strerror(failed));
    bool ok =
        socket_listen(found, ret) || err_set(err, ERR_CONFIG, "cannot listen on %s: %s", text, strerrordesc_np(errno));
    freeaddrinfo(found);
    return ok;
}

static void address_print(int fd) {
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    char host[NI_MAXHOST] = "?", port[NI_MAXSERV] = "?";
    if (getsockname(fd, (struct sockaddr *)&address, &len) == 0)
        getnameinfo((struct sockaddr *)&address, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV);
    bool v6 = strchr(host, ':') != NULL;
    printf("Listening on http://%s%s%s:%s\n", v6 ? "[" : "", host, v6 ? "]" : "", port);
    fflush(stdout);
}

/* Until somebody wants it to end. The signals are blocked in all threads, and taken here. */
static bool server_run(struct server *server, struct err *err) {
    sigset_t signals;
    int taken;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    struct MHD_Daemon *daemon =
        MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL, 0, NULL, NULL,
                         on_request, server, MHD_OPTION_LISTEN_SOCKET, server->socket, MHD_OPTION_CONNECTION_TIMEOUT,
                         (unsigned)IDLE_SECONDS, MHD_OPTION_NOTIFY_COMPLETED, on_completed, server, MHD_OPTION_END);
    if (!daemon) {
        close(server->socket);
        return err_set(err, ERR_INTERNAL, "the HTTP server does not start: %s", strerrordesc_np(errno));
    }
    address_print(server->socket);
    sigwait(&signals, &taken);
    pthread_mutex_lock(&server->stop_lock);
    server->stopping = true;
    pthread_cond_broadcast(&server->stopped);
    pthread_mutex_unlock(&server->stop_lock);
    MHD_stop_daemon(daemon);
    return true;
}

/* Signals are blocked before any thread is there, so that all inherit it. */
static void block_signals(void) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
}

static bool provider_run(struct server *server, const char *listen_on, const char *db, struct err *err) {
    const char *secret, *webhook_secret = "";
    if (!config_require("ORDERLOG_PROVIDER_SECRET", &secret, err) ||
        (server->webhooks && !config_require("ORDERLOG_WEBHOOK_SECRET", &webhook_secret, err)) ||
        !provider_store_open(db, &server->store, err))
        return false;
    block_signals();
    server->secret = str_from(secret);
    struct provider_events_config events = {server->store, &server->lock, server->webhooks, str_from(webhook_secret)};
    bool ok = server_listen(listen_on, &server->socket, err) && provider_events_start(&events, &server->events, err) &&
              server_run(server, err);
    provider_events_stop(server->events);
    provider_store_close(server->store);
    return ok;
}

/* False with err->kind NONE: it was said what is wrong. */
static bool option_parse(struct server *server, int option, struct err *err) {
    int64_t seconds;
    switch (option) {
    case 'f':
        return provider_rates_parse(optarg, &server->rates, err);
    case 's':
        return cli_number("--seed", optarg, 0, INT64_MAX, &server->rates.seed);
    case 'a':
        if (!cli_number("--after", optarg, 0, 86400, &seconds))
            return false;
        server->after_ms = seconds * 1000;
        return true;
    default:
        cli_usage_hint();
        return false;
    }
}

int provider_main(int argc, char **argv) {
    static const struct option options[] = {{"listen", required_argument, NULL, 'l'},
                                            {"db", required_argument, NULL, 'd'},
                                            {"webhooks", required_argument, NULL, 'w'},
                                            {"fault", required_argument, NULL, 'f'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"after", required_argument, NULL, 'a'},
                                            {0}};
    const char *listen_on = "127.0.0.1:12111", *db = NULL;
    struct server server = {.lock = PTHREAD_MUTEX_INITIALIZER,
                            .stop_lock = PTHREAD_MUTEX_INITIALIZER,
                            .stopped = PTHREAD_COND_INITIALIZER,
                            .after_ms = 5000};
    struct err err = {0};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'l')
            listen_on = optarg;
        else if (option == 'd')
            db = optarg;
        else if (option == 'w')
            server.webhooks = optarg;
        else if (!option_parse(&server, option, &err))
            return err.kind ? cli_usage_error("%s", err.detail) : CLI_USAGE;
    }
    if (!cli_no_operands(argc, argv))
        return CLI_USAGE;
    if (!db)
        return cli_usage_error("--db FILE is missing");
    return provider_run(&server, listen_on, db, &err) ? CLI_OK : cli_fail(&err);
}
