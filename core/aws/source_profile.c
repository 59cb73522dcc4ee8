/* The files that the AWS command line shares with other tools: ~/.aws/credentials and ~/.aws/config. */
#include "core/aws/source.h"

#include <stdlib.h>
#include <unistd.h>

struct profile {
    struct buf text; /* of the file, which the rest borrows */
    bool file_found;
    bool found;
    struct str id, secret, token, role_arn, token_file, session_name, region;
    struct str other; /* a way to credentials that is not gone here */
};

static struct str trim(struct str s) {
    while (s.len && strchr(" \t\r", s.ptr[0]))
        s = (struct str){s.ptr + 1, s.len - 1};
    while (s.len && strchr(" \t\r", s.ptr[s.len - 1]))
        s.len--;
    return s;
}

/* "[name]", in the config file "[profile name]" (but "[default]"). */
static bool heads(struct str line, bool is_config, struct str name) {
    struct str rest;
    struct str inside = trim(str_cut((struct str){line.ptr + 1, line.len - 1}, ']', &rest));
    if (is_config && str_starts_with(inside, STR("profile ")))
        inside = trim((struct str){inside.ptr + 8, inside.len - 8});
    else if (is_config && !str_eq(inside, STR("default")))
        return false;
    return rest.ptr && str_eq(inside, name);
}

static void take(struct profile *profile, struct str name, struct str value) {
    const struct {
        struct str name;
        struct str *to;
    } known[] = {
        {STR("aws_access_key_id"), &profile->id},
        {STR("aws_secret_access_key"), &profile->secret},
        {STR("aws_session_token"), &profile->token},
        {STR("role_arn"), &profile->role_arn},
        {STR("web_identity_token_file"), &profile->token_file},
        {STR("role_session_name"), &profile->session_name},
        {STR("region"), &profile->region},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (str_eq(name, known[i].name) && value.len)
            *known[i].to = value;
    static const char *const others[] = {"source_profile", "credential_source", "credential_process", "sso_session",
                                         "sso_start_url"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (str_eq(name, str_from(others[i])))
            profile->other = name;
}

static bool read_profile(const char *path, bool is_config, struct str name, struct profile *ret, struct err *err) {
    *ret = (struct profile){0};
    if (access(path, F_OK) != 0)
        return true;
    if (!source_read_file(path, &ret->text, err))
        return false;
    ret->file_found = true;
    bool inside = false;
    for (struct str rest = buf_str(&ret->text); rest.ptr;) {
        struct str value, line = str_cut(rest, '\n', &rest);
        bool nested = line.len && strchr(" \t", line.ptr[0]); /* belongs to the setting above */
        line = trim(line);
        if (!line.len || strchr("#;", line.ptr[0]) || nested)
            continue;
        if (line.ptr[0] == '[') {
            inside = heads(line, is_config, name);
            ret->found |= inside;
        } else if (inside) {
            struct str key = trim(str_cut(line, '=', &value));
            take(ret, key, trim(value));
        }
    }
    return true;
}

struct files {
    struct buf credentials_path, config_path;
    struct profile credentials, config;
    struct str name;
};

static bool read_files(const struct source_settings *settings, struct files *ret, struct err *err) {
    const char *home = settings->home ? settings->home : "";
    *ret = (struct files){.name = settings->profile ? str_from(settings->profile) : STR("default")};
    buf_printf(&ret->credentials_path, "%s%s", settings->credentials_file ? "" : home,
               settings->credentials_file ? settings->credentials_file : "/.aws/credentials");
    buf_printf(&ret->config_path, "%s%s", settings->config_file ? "" : home,
               settings->config_file ? settings->config_file : "/.aws/config");
    return read_profile(ret->credentials_path.ptr, false, ret->name, &ret->credentials, err) &&
           read_profile(ret->config_path.ptr, true, ret->name, &ret->config, err);
}

static void free_files(struct files *files) {
    buf_free(&files->credentials_path);
    buf_free(&files->config_path);
    buf_free(&files->credentials.text);
    buf_free(&files->config.text);
}

char *source_profile_region(const struct source_settings *settings) {
    __attribute__((cleanup(free_files))) struct files files;
    struct err ignored; /* whoever needs credentials is told */
    if (!read_files(settings, &files, &ignored) || !files.config.region.ptr)
        return NULL;
    return mem_strdup(files.config.region);
}

static enum source_result assume(const struct source_settings *settings, const struct profile *profile,
                                 struct aws_credentials *ret, struct err *err) {
    char *role = mem_strdup(profile->role_arn), *file = mem_strdup(profile->token_file);
    char *session = profile->session_name.ptr ? mem_strdup(profile->session_name) : NULL;
    bool ok = source_assume_role(settings, role, session, file, ret, err);
    free(role);
    free(file);
    free(session);
    return ok ? SOURCE_SERVED : SOURCE_FAILED;
}

static enum source_result not_there(const struct source_settings *settings, const struct files *files,
                                    struct err *err) {
    bool any = files->credentials.file_found || files->config.file_found;
    if (any)
        err_set(err, ERR_CONFIG, "there is no profile \"%.*s\" in %s or %s", STR_ARG(files->name),
                files->credentials_path.ptr, files->config_path.ptr);
    else
        err_set(err, ERR_CONFIG, "there is neither %s nor %s", files->credentials_path.ptr, files->config_path.ptr);
    return settings->profile ? SOURCE_FAILED : SOURCE_NOT_SET_UP;
}

enum source_result source_profile(const struct source_settings *settings, struct aws_credentials *ret,
                                  struct err *err) {
    __attribute__((cleanup(free_files))) struct files files;
    if (!read_files(settings, &files, err))
        return SOURCE_FAILED;
    const struct profile *config = &files.config;
    if (!files.credentials.found && !config->found)
        return not_there(settings, &files, err);
    if (config->role_arn.ptr && config->token_file.ptr)
        return assume(settings, config, ret, err);
    const struct profile *keys = files.credentials.id.ptr ? &files.credentials : config;
    if (!keys->id.ptr || !keys->secret.ptr) {
        struct str other = config->other.ptr ? config->other : files.credentials.other;
        if (other.ptr)
            err_set(err, ERR_CONFIG, "profile \"%.*s\" gets its credentials by %.*s, which is not supported",
                    STR_ARG(files.name), STR_ARG(other));
        else
            err_set(err, ERR_CONFIG, "profile \"%.*s\" has no aws_access_key_id or no aws_secret_access_key",
                    STR_ARG(files.name));
        return settings->profile || other.ptr || keys->id.ptr ? SOURCE_FAILED : SOURCE_NOT_SET_UP;
    }
    ret->access_key_id = mem_strdup(keys->id);
    ret->secret_access_key = mem_strdup(keys->secret);
    ret->session_token = keys->token.ptr ? mem_strdup(keys->token) : NULL;
    return SOURCE_SERVED;
}
