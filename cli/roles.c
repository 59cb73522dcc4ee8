/* orderlog up, api, consume, project: which roles a process has. */
#include "cli/cli.h"
#include "cli/process.h"

#include "core/base/config.h"

#include <getopt.h>

/* clang-format off */
#define SETTINGS \
    "Settings, from the environment or the file named by ORDERLOG_CONFIG. KEY_FILE names a file that holds KEY's value;\n" \
    "a secret may have a second one, KEY_PREVIOUS, that is still good for what it signed.\n"
#define SETTINGS_SHOP \
    "  ORDERLOG_CURRENCY                  the only currency, ISO 4217 (USD)\n" \
    "  ORDERLOG_LOCATIONS                 stock locations and their partitions; the first one serves orders (main:0)\n"
#define SETTINGS_DATABASE \
    "  DATABASE_URL                       PostgreSQL, as a libpq URI\n"
#define SETTINGS_VIEWS \
    "  ORDERLOG_VIEWS_URL                 dynamodb://TABLE: cart views and recommendations are kept there, not in Redis\n"
#define SETTINGS_REDIS \
    "  REDIS_URL                          redis[s]://host:port or unix:///path\n" \
    SETTINGS_VIEWS
#define SETTINGS_PROVIDER \
    "  ORDERLOG_PROVIDER                  the payment provider's URL, or 'instant': every payment is authorised at once\n" \
    "  ORDERLOG_PROVIDER_SECRET           its API key\n"
#define SETTINGS_PROVIDER_MORE \
    "  ORDERLOG_PROVIDER_TIMEOUT_MS       that a call to it may take (10000)\n"
#define SETTINGS_SECRETS \
    "  ORDERLOG_SESSION_SECRET            signs shoppers' tokens: at least 32 bytes, as the next two\n" \
    "  ORDERLOG_ID_SECRET                 marks whose carts and orders are whose\n" \
    "  ORDERLOG_PERSONAL_SECRET           names personal details without telling them\n"
#define SETTINGS_TIMES \
    "  ORDERLOG_PAYMENT_DEADLINE_SECONDS  to pay for an order (1800)\n" \
    "  ORDERLOG_CART_ABANDON_SECONDS      until an untouched cart is abandoned (2592000)\n" \
    "  ORDERLOG_HOLD_EXPIRY_SECONDS       that a request waits for an order not yet known (60)\n"
#define SETTINGS_API \
    "  ORDERLOG_SESSIONS_URL              dynamodb://TABLE: revoked sessions are kept there, not in PostgreSQL\n" \
    "  ORDERLOG_LISTEN                    the API's address (127.0.0.1:8080)\n" \
    "  ORDERLOG_OPERATOR_TOKENS           operators: lines NAME:TOKEN (none)\n" \
    "  ORDERLOG_WEBHOOK_SECRET            signs the provider's webhooks: 16 bytes or more (none are taken)\n" \
    "  ORDERLOG_API_THREADS, ORDERLOG_IN_FLIGHT, ORDERLOG_CONNECTIONS   the API's limits (0: chosen by itself)\n" \
    "  ORDERLOG_WAITERS                   requests that may wait to read their writes (4096)\n" \
    "  ORDERLOG_STREAMS, ORDERLOG_STREAMS_PER_SHOPPER   order streams that may be open (4096, 16)\n" \
    "  ORDERLOG_RATE_SHOPPER, ORDERLOG_RATE_SHOPPER_BURST   requests a second, and at once (50, 500; 0: any number)\n" \
    "  ORDERLOG_RATE_ADDRESS, ORDERLOG_RATE_ADDRESS_BURST   the same by address; 0 behind a proxy (200, 1000)\n" \
    "  ORDERLOG_RATE_OPERATOR, ORDERLOG_RATE_OPERATOR_BURST   the same by operator (2000, 20000)\n" \
    "  ORDERLOG_SHED_LAG_RECORDS          records that may wait to be decided until writes are refused (200000; 0: any)\n" \
    "  ORDERLOG_SHED_LAG_SECONDS          that the oldest of them may have waited by then (30; 0: any)\n"
#define SETTINGS_MAIL \
    "  ORDERLOG_MAIL                      smtp://, smtps:// or smtp+plain://[USER:PASSWORD@]HOST[:PORT], or ses://[SET]\n" \
    "  ORDERLOG_MAIL_FROM                 the address that e-mails come from\n"
#define SETTINGS_MAIL_MORE \
    "  ORDERLOG_MAIL_CA                   who vouches for the mail server: a PEM file (the system's authorities)\n" \
    "  ORDERLOG_SHOP_NAME                 that they come from and speak of (orderlog)\n" \
    "  ORDERLOG_MAIL_WITHIN_SECONDS       how old an event may be to be told of (86400)\n" \
    "  ORDERLOG_CLAIMS                    where it is noted what was sent: postgresql://... or dynamodb://TABLE\n" \
    "                                     (DATABASE_URL)\n"
#define SETTINGS_LEVEL \
    "  ORDERLOG_LOG_LEVEL                 debug, info, warn or error (info)\n" \
    "  ORDERLOG_EMF_SECONDS               how often metrics are written to standard output for CloudWatch (0: never)\n" \
    "  ORDERLOG_EMF_NAMESPACE             theirs (orderlog)\n" \
    "  OTEL_EXPORTER_OTLP_ENDPOINT        an OpenTelemetry collector that is told traces, by HTTP (none), and\n" \
    "                                     OpenTelemetry's other settings: docs/operations.md, Traces\n"
#define SETTINGS_KAFKA \
    "  ORDERLOG_LOG                       the log: kafka://host:9092; its topics: orderlog topics apply\n"
#define SETTINGS_PROBES \
    "  ORDERLOG_LISTEN                    where /livez, /readyz and /metrics are answered (nowhere)\n"
#define OPTION_PROBES \
    "  --listen ADDRESS  where /livez, /readyz and /metrics are answered, as 127.0.0.1:9101 (default: ORDERLOG_LISTEN)\n"
#define OPTION_HELP \
    "  -h, --help        this text\n"
#define ENDS \
    "Ends cleanly on SIGTERM or SIGINT. Logs go to standard error.\n"
#define EXIT_CODES \
    "Exit codes: 0 ended when asked to; 2 wrong usage, or it could not start.\n"

const char up_help[] =
    "Usage: orderlog up\n"
    "\n"
    "Runs the whole shop in one process: the HTTP API, the deciders and the read models, each on threads of its own,\n"
    "over the embedded log or Kafka. " ENDS
    "\n"
    SETTINGS
    "  ORDERLOG_LOG                       the log: sqlite:///path/log.db, or kafka://host:9092\n"
    SETTINGS_DATABASE SETTINGS_REDIS SETTINGS_PROVIDER SETTINGS_SECRETS
    "and if need be\n"
    SETTINGS_PROVIDER_MORE SETTINGS_SHOP
    "  ORDERLOG_PARTITIONS                of each topic, when the log is made (4)\n"
    SETTINGS_TIMES SETTINGS_API SETTINGS_LEVEL
    "and to tell shoppers by e-mail\n"
    SETTINGS_MAIL SETTINGS_MAIL_MORE
    "\n"
    EXIT_CODES
    "\n"
    "Example:\n"
    "  infra/local/up                 # starts it with PostgreSQL, Redis and the payment sandbox on this machine\n";

const char api_help[] =
    "Usage: orderlog api [--listen ADDRESS]\n"
    "\n"
    "Runs the HTTP API alone, over Kafka: it appends what shoppers and operators ask for, and reads the read models.\n"
    "Several may run. " ENDS
    "\n"
    "Options:\n"
    "  --listen ADDRESS  the API's address (default: ORDERLOG_LISTEN)\n"
    OPTION_HELP
    "\n"
    SETTINGS SETTINGS_KAFKA SETTINGS_DATABASE SETTINGS_REDIS SETTINGS_SECRETS
    "and if need be\n"
    SETTINGS_SHOP SETTINGS_API SETTINGS_LEVEL
    "\n"
    EXIT_CODES
    "\n"
    "Example:\n"
    "  orderlog api --listen 0.0.0.0:8080\n";

const char consume_help[] =
    "Usage: orderlog consume SERVICE[,SERVICE...]|all [--listen ADDRESS]\n"
    "\n"
    "Runs deciders alone, over Kafka: checkout, orders, inventory, payments, fulfilment. Those of one process are fused:\n"
    "what one says to another goes to it in memory. Several processes may run the same; they share its partitions.\n"
    "The notifier tells shoppers by e-mail what becomes of their orders; it must be named, as it is not one of all.\n"
    ENDS
    "\n"
    "Options:\n"
    OPTION_PROBES OPTION_HELP
    "\n"
    SETTINGS SETTINGS_KAFKA SETTINGS_DATABASE
    "for payments also\n"
    SETTINGS_PROVIDER SETTINGS_PROVIDER_MORE
    "for the notifier also\n"
    SETTINGS_MAIL SETTINGS_MAIL_MORE
    "and if need be\n"
    SETTINGS_PROBES SETTINGS_SHOP SETTINGS_TIMES SETTINGS_LEVEL
    "\n"
    EXIT_CODES
    "\n"
    "Examples:\n"
    "  orderlog consume all\n"
    "  orderlog consume orders,payments --listen 0.0.0.0:9101\n"
    "  ORDERLOG_MAIL=smtp://relay.example.com ORDERLOG_MAIL_FROM=shop@example.com orderlog consume notifier\n";

const char project_help[] =
    "Usage: orderlog project redis|postgres [--listen ADDRESS]\n"
    "\n"
    "Keeps the read models of one store, over Kafka. Several may run; they share the partitions. " ENDS
    "\n"
    "Options:\n"
    OPTION_PROBES OPTION_HELP
    "\n"
    SETTINGS SETTINGS_KAFKA
    "  DATABASE_URL or REDIS_URL          the store, as for the other commands\n"
    SETTINGS_VIEWS
    "and if need be\n"
    SETTINGS_PROBES SETTINGS_SHOP SETTINGS_LEVEL
    "\n"
    EXIT_CODES
    "\n"
    "Example:\n"
    "  orderlog project redis --listen 0.0.0.0:9102\n";
/* clang-format on */

/* Takes --listen; what is left over begins at optind. */
static int parse_listen(int argc, char **argv) {
    static const struct option options[] = {{"listen", required_argument, NULL, 'l'}, {0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option != 'l')
            return cli_usage_hint();
        config_override("ORDERLOG_LISTEN", optarg);
    }
    return CLI_OK;
}

/* The one operand of a command; complains when there is none, or more. */
static const char *operand(int argc, char **argv, const char *what) {
    if (optind + 1 == argc)
        return argv[optind];
    if (optind == argc)
        (void)cli_usage_error("say which: %s", what);
    else
        (void)cli_usage_error("'%s' is one too many", argv[optind + 1]);
    return NULL;
}

int up_main(int argc, char **argv) {
    struct process_roles roles = {
        .api = true, .projects = {[PROCESS_REDIS] = true, [PROCESS_POSTGRES] = true}, .makes_topics = true};
    if (getopt_long(argc, argv, "", (struct option[]){{0}}, NULL) != -1)
        return cli_usage_hint();
    if (!cli_no_operands(argc, argv))
        return CLI_USAGE;
    process_add_deciders(&roles);
    struct err err = {0};
    const char *mail;
    if (!config_optional("ORDERLOG_MAIL", &mail, &err))
        return cli_fail(&err);
    roles.notifies = mail != NULL;
    return process_run(&roles);
}

int api_main(int argc, char **argv) {
    const struct process_roles roles = {.api = true};
    int status = parse_listen(argc, argv);
    if (status != CLI_OK)
        return status;
    return cli_no_operands(argc, argv) ? process_run(&roles) : CLI_USAGE;
}

static bool add_services(struct process_roles *roles, struct str services) {
    if (str_eq(services, STR("all"))) {
        process_add_deciders(roles);
        return true;
    }
    while (services.ptr) {
        struct str service = str_cut(services, ',', &services);
        if (!process_add_decider(roles, service)) {
            (void)cli_usage_error(
                "there is no decider '%.*s': checkout, orders, inventory, payments, fulfilment, notifier or all",
                STR_ARG(service));
            return false;
        }
    }
    return true;
}

int consume_main(int argc, char **argv) {
    struct process_roles roles = {0};
    int status = parse_listen(argc, argv);
    if (status != CLI_OK)
        return status;
    const char *services = operand(argc, argv, "checkout, orders, inventory, payments, fulfilment, notifier or all");
    return services && add_services(&roles, str_from(services)) ? process_run(&roles) : CLI_USAGE;
}

int project_main(int argc, char **argv) {
    struct process_roles roles = {0};
    int status = parse_listen(argc, argv);
    if (status != CLI_OK)
        return status;
    const char *store = operand(argc, argv, "redis or postgres");
    if (!store)
        return CLI_USAGE;
    if (strcmp(store, "redis") != 0 && strcmp(store, "postgres") != 0)
        return cli_usage_error("there is no store '%s': redis or postgres", store);
    roles.projects[strcmp(store, "redis") == 0 ? PROCESS_REDIS : PROCESS_POSTGRES] = true;
    return process_run(&roles);
}
