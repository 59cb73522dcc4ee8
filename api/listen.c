#include "api/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void text_free(char **text) {
    free(*text);
}

#define TEXT_AUTO __attribute__((cleanup(text_free))) char *

/* Cuts at the last colon; a v6 address stands in brackets. */
static bool address_split(const char *address, struct str *ret_host, struct str *ret_port) {
    const char *colon = strrchr(address, ':');
    int64_t port;
    *ret_port = str_from(colon ? colon + 1 : NULL);
    if (!colon || !str_to_i64(*ret_port, &port) || port < 0 || port > 65535)
        return false;
    *ret_host = (struct str){address, (size_t)(colon - address)};
    if (ret_host->len && ret_host->ptr[0] == '[') {
        if (ret_host->len < 3 || ret_host->ptr[ret_host->len - 1] != ']')
            return false;
        *ret_host = (struct str){ret_host->ptr + 1, ret_host->len - 2};
    }
    return true;
}

static int socket_bound(const struct addrinfo *info) {
    int fd = socket(info->ai_family, info->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, info->ai_protocol);
    if (fd < 0)
        return -1;
    const int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

static int port_of(int fd) {
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        return 0;
    if (address.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)&address)->sin6_port);
    return ntohs(((const struct sockaddr_in *)&address)->sin_port);
}

bool listen_open(const char *address, int *ret_fd, int *ret_port, struct err *err) {
    struct str host, port;
    if (!address_split(address, &host, &port))
        return err_set(err, ERR_CONFIG, "\"%s\" is not of the form host:port", address);
    TEXT_AUTO host_text = mem_strdup(host);
    TEXT_AUTO port_text = mem_strdup(port);
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int failed = getaddrinfo(host.len ? host_text : NULL, port_text, &hints, &found);
    if (failed)
        return err_set(err, ERR_CONFIG, "cannot listen on %s: %s", address, gai_strerror(failed));
    int fd = -1;
    for (const struct addrinfo *info = found; info && fd < 0; info = info->ai_next)
        fd = socket_bound(info);
    int why = errno;
    freeaddrinfo(found);
    if (fd < 0)
        return err_set(err, ERR_IO, "cannot listen on %s: %s", address, strerrordesc_np(why));
    *ret_fd = fd;
    *ret_port = port_of(fd);
    return true;
}
