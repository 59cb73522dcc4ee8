/* orderlog rebuild: make read models, or a decider's tables, anew from the log, beside the live ones. */
#include "cli/rebuild.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/config.h"
#include "core/base/ids.h"

const char rebuild_help[] =
    "Usage: orderlog rebuild [OPTION...] MODEL...\n"
    "\n"
    "Makes rows anew from the log, beside the live ones, compares the two row for row, and puts the new ones in their\n"
    "place, without a moment in which they are not there. The shop goes on meanwhile.\n"
    "\n"
    "Models:\n"
    "  postgres                the views in PostgreSQL, all of them\n"
    "  postgres/carts          one of them: the others are taken over as they are\n"
    "  postgres/orders\n"
    "  postgres/products\n"
    "  postgres/recommendations\n"
    "  redis                   the views in Redis, all of them\n"
    "  redis/carts, redis/orders, redis/products, redis/recommendations\n"
    "  views                   all views in both\n"
    "  checkout, orders, inventory, payments, fulfilment\n"
    "                          a decider's tables, but for what is no fold of the log (held requests, timers, ...)\n"
    "  deciders                all of those\n"
    "\n"
    "What an interrupted rebuild had written is gone on with if it was complete but for what came since, else "
    "removed.\n"
    "Only one rebuild of a store runs at a time. Records that a view has set aside (parked) are tried again.\n"
    "\n"
    "Options:\n"
    "      --diff               only compare, show the differences, and change nothing\n"
    "      --show N             show so many differences (10; with --diff 100)\n"
    "      --memory MIB         for rows that are at work, of each view; more go to TMPDIR (64)\n"
    "      --output json|table  a table on a terminal, else JSON\n"
    "      --log URL            the log (default: ORDERLOG_LOG)\n"
    "      --database URL       PostgreSQL (default: DATABASE_URL)\n"
    "      --redis URL          Redis (default: REDIS_URL)\n"
    "  -h, --help               this text\n"
    "\n"
    "JSON: "
    "{\"models\":[{\"model\",\"events\",\"rows\",\"seconds\",\"fold_seconds\",\"fold_cpu_seconds\",\"events_per_s\",\n"
    "       "
    "\"compared\",\"rows_compared\",\"differences\",\"first\":[{\"table\",\"key\",\"what\"}],\"swapped\",\"resumed\",\n"
    "       \"note\"?}]}\n"
    "events_per_s is of the fold: reading the log and making rows in memory.\n"
    "\n"
    "Settings: ORDERLOG_LOG, DATABASE_URL, REDIS_URL, ORDERLOG_VIEWS_URL, ORDERLOG_CURRENCY (USD), TMPDIR.\n"
    "\n"
    "Exit codes: 0 done; 1 with --diff: there are differences, or the live rows stand where they cannot be compared;\n"
    "2 wrong usage, or it could not be done: then the live rows are as they were.\n"
    "\n"
    "Examples:\n"
    "  orderlog rebuild --diff postgres\n"
    "  orderlog rebuild redis/orders\n"
    "  orderlog rebuild inventory\n"
    "  orderlog rebuild --output json views\n";

/* ---- what there is to rebuild ---- */

/* What ORDERLOG_VIEWS_URL keeps in DynamoDB is made anew in another table, by its projectors. */
static bool is_kept_in(const struct generation_ops *store, const struct view *view) {
    const char *elsewhere = config_get("ORDERLOG_VIEWS_URL", "");
    return store != &generation_redis || !view->movable || !*elsewhere;
}

static bool model_add(struct rebuild_cli *cli, const struct generation_ops *store, const char *view_name) {
    struct rebuild_model *model = &cli->models[cli->model_count];
    if (cli->model_count == REBUILD_MODELS_MAX)
        return false;
    *model = (struct rebuild_model){.store = store, .views = model->chosen};
    snprintf(model->name, sizeof model->name, "%s%s%s", store->name, view_name ? "/" : "", view_name ? view_name : "");
    for (size_t i = 0; i < VIEW_COUNT; i++)
        if ((!view_name || strcmp(views_all[i]->name, view_name) == 0) && is_kept_in(store, views_all[i]))
            model->chosen[model->view_count++] = views_all[i];
    cli->model_count++;
    return model->view_count > 0;
}

static bool service_add(struct rebuild_cli *cli, const struct fold_service *service) {
    struct rebuild_model *model = &cli->models[cli->model_count];
    if (cli->model_count == REBUILD_MODELS_MAX)
        return false;
    *model = (struct rebuild_model){.service = service};
    snprintf(model->name, sizeof model->name, "%s", service->decider->service);
    cli->model_count++;
    return true;
}

static bool model_parse(struct rebuild_cli *cli, const char *text) {
    static const struct {
        const char *name;
        const struct generation_ops *store;
    } stores[] = {{"postgres", &generation_postgres},
                  {"postgresql", &generation_postgres},
                  {"pg", &generation_postgres},
                  {"redis", &generation_redis}};
    struct str view, store = str_cut(str_from(text), '/', &view);
    bool all = strcmp(text, "deciders") == 0, found = false;
    for (size_t i = 0; i < FOLD_SERVICE_COUNT; i++)
        if ((all || strcmp(text, fold_services[i].decider->service) == 0) && service_add(cli, &fold_services[i]))
            found = true;
    if (found)
        return true;
    if (strcmp(text, "views") == 0)
        return model_add(cli, &generation_postgres, NULL) && model_add(cli, &generation_redis, NULL);
    for (size_t i = 0; i < sizeof stores / sizeof stores[0]; i++)
        if (str_eq(store, str_from(stores[i].name)))
            return model_add(cli, stores[i].store, view.ptr);
    return false;
}

/* ---- the command line ---- */

enum { OPTION_DIFF = 256, OPTION_SHOW, OPTION_MEMORY, OPTION_OUTPUT, OPTION_LOG, OPTION_DATABASE, OPTION_REDIS };

static bool option_parse(struct rebuild_cli *cli, int option, const char *argument) {
    switch (option) {
    case OPTION_DIFF:
        return cli->diff = true;
    case OPTION_SHOW:
        return cli_number("--show", argument, 0, 1000000, &cli->show);
    case OPTION_MEMORY:
        return cli_number("--memory", argument, 1, 1 << 20, &cli->memory_mib);
    case OPTION_OUTPUT:
        return cli_output_parse(argument, &cli->output);
    case OPTION_LOG:
        config_override("ORDERLOG_LOG", argument);
        return true;
    case OPTION_DATABASE:
        config_override("DATABASE_URL", argument);
        return true;
    case OPTION_REDIS:
        config_override("REDIS_URL", argument);
        return true;
    default:
        cli_usage_hint();
        return false;
    }
}

static bool models_parse(struct rebuild_cli *cli, int argc, char **argv) {
    for (; optind < argc; optind++)
        if (!model_parse(cli, argv[optind])) {
            cli_usage_error("there is no model '%s'", argv[optind]);
            return false;
        }
    if (cli->model_count)
        return true;
    cli_usage_error("a MODEL is missing");
    return false;
}

static bool command_line_parse(struct rebuild_cli *cli, int argc, char **argv) {
    static const struct option options[] = {
        {"diff", no_argument, NULL, OPTION_DIFF},           {"show", required_argument, NULL, OPTION_SHOW},
        {"memory", required_argument, NULL, OPTION_MEMORY}, {"output", required_argument, NULL, OPTION_OUTPUT},
        {"log", required_argument, NULL, OPTION_LOG},       {"database", required_argument, NULL, OPTION_DATABASE},
        {"redis", required_argument, NULL, OPTION_REDIS},   {0}};
    cli->show = -1;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        if (!option_parse(cli, option, optarg))
            return false;
    if (cli->show < 0)
        cli->show = cli->diff ? 100 : 10;
    return models_parse(cli, argc, argv);
}

/* ---- running ---- */

static atomic_bool interrupted;

static void interrupt(int number) {
    (void)number;
    atomic_store(&interrupted, true);
}

static void catch_signals(void) {
    struct sigaction action = {.sa_handler = interrupt};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static bool on_progress(void *user, enum rebuild_phase phase, int64_t done, int64_t total) {
    struct rebuild_cli *cli = user;
    rebuild_show_progress(cli, phase, done, total);
    return !atomic_load(&interrupted);
}

static void on_difference(void *user, const struct generation_difference *difference) {
    struct rebuild_cli *cli = user;
    struct rebuild_model *model = cli->running;
    if (model->shown_count < cli->show)
        rebuild_keep_difference(model, difference);
}

/* Another program, or the same one with other settings, folds other rows. */
static bool made_by(struct str currency, struct buf *ret, struct err *err) {
    uint8_t hash[SHA256_SIZE];
    BUF_AUTO program = {0};
    FILE *file = fopen("/proc/self/exe", "re");
    if (!file)
        return err_set(err, ERR_IO, "reading /proc/self/exe: %s", strerrordesc_np(errno));
    for (size_t got = 1; got;) {
        buf_reserve(&program, 1 << 16);
        got = fread(program.ptr + program.len, 1, 1 << 16, file);
        program.len += got;
    }
    fclose(file);
    sha256(buf_str(&program), hash);
    buf_printf(ret, "%s ", ORDERLOG_VERSION);
    buf_add_hex(ret, hash, sizeof hash);
    buf_printf(ret, " %.*s", STR_ARG(currency));
    return true;
}

static bool view_run(struct rebuild_cli *cli, struct rebuild_model *model, struct err *err) {
    bool postgres = model->store == &generation_postgres;
    struct rebuild_config config = {.log = cli->log,
                                    .store = model->store,
                                    .views = model->views,
                                    .view_count = model->view_count,
                                    .shop = &cli->shop,
                                    .only_compare = cli->diff,
                                    .made_by = buf_str(&cli->made_by),
                                    .memory_bytes = (size_t)cli->memory_mib << 20,
                                    .progress = on_progress,
                                    .differs = on_difference,
                                    .user = cli};
    return config_require(postgres ? "DATABASE_URL" : "REDIS_URL", &config.url, err) &&
           rebuild_run(&config, &model->report, err);
}

static bool decider_run(struct rebuild_cli *cli, struct rebuild_model *model, struct err *err) {
    struct rebuild_decider_config config = {.log = cli->log,
                                            .service = model->service,
                                            .shop = &cli->shop,
                                            .only_compare = cli->diff,
                                            .progress = on_progress,
                                            .differs = on_difference,
                                            .user = cli};
    return config_require("DATABASE_URL", &config.database_url, err) &&
           rebuild_decider_run(&config, &model->report, err);
}

static bool model_run(struct rebuild_cli *cli, struct rebuild_model *model, struct err *err) {
    cli->running = model;
    bool ok = model->service ? decider_run(cli, model, err) : view_run(cli, model, err);
    rebuild_clear_progress(cli);
    model->done = ok;
    return ok || err_wrap(err, "%s", model->name);
}

static bool run(struct rebuild_cli *cli, struct err *err) {
    cli->shop = shop_defaults();
    cli->shop.currency = str_from(config_get("ORDERLOG_CURRENCY", "USD"));
    if (!made_by(cli->shop.currency, &cli->made_by, err) || !cli_log_open(&cli->log, err))
        return false;
    catch_signals();
    for (size_t i = 0; i < cli->model_count; i++)
        if (!model_run(cli, &cli->models[i], err))
            return false;
    return true;
}

static int status_of(const struct rebuild_cli *cli) {
    for (size_t i = 0; i < cli->model_count; i++) {
        const struct rebuild_report *report = &cli->models[i].report;
        if (cli->diff && (report->differences || !report->compared))
            return CLI_NO;
    }
    return CLI_OK;
}

int rebuild_main(int argc, char **argv) {
    struct rebuild_cli cli = {0};
    struct err err = {0};
    if (!command_line_parse(&cli, argc, argv))
        return CLI_USAGE;
    bool ok = run(&cli, &err);
    rebuild_report_all(&cli);
    int status = ok ? status_of(&cli) : cli_fail(&err);
    for (size_t i = 0; i < cli.model_count; i++)
        rebuild_model_free(&cli.models[i]);
    buf_free(&cli.made_by);
    cli_log_close(&cli.log);
    return status;
}
