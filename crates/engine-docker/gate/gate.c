/*
 * The gate: the first program of every container, which waits until the instance's ambassador is
 * there and then becomes the program that the container is for.
 *
 *     gate PROGRAM [ARGUMENT]...
 *
 * It connects to the socket beside it and waits for one byte. Nobody there, or an end instead of a
 * byte, means that no daemon is there to install an ambassador: it tries again until one is. So a
 * container that Docker starts by itself waits here too, with its new network namespace.
 *
 * It has no library, so that it runs in every image; it leaves the program no descriptor, changes
 * nothing of its process, and looks the program up in PATH as a shell does: 127 when there is none,
 * 126 when it cannot be executed. Then it says why, on standard error and to the daemon, which
 * learns from the end of the connection that the program was executed.
 */
#include <errno.h>
#include <linux/limits.h>
#include <linux/time_types.h>
#include <linux/un.h>
#include <signal.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/syscall.h>

static const struct sockaddr_un door = {AF_UNIX, "/.roadstead/door"};
/* Between two attempts to find a daemon: 5 ms. */
static const struct __kernel_timespec pause_time = {0, 5 * 1000 * 1000};
static const char usual_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n xor %ebp, %ebp\n mov %rsp, %rdi\n call begin\n");

static long call(long number, long a, long b, long c, long d) {
    long result;
    register long fourth __asm__("r10") = d;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n mov x29, #0\n mov x0, sp\n bl begin\n");

static long call(long number, long a, long b, long c, long d) {
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}
#else
#error "the gate is written for x86-64 and aarch64"
#endif

static _Noreturn void leave(int code) {
    for (;;) call(SYS_exit_group, code, 0, 0, 0);
}

static size_t length(const char *text) {
    size_t count = 0;
    while (text[count]) count++;
    return count;
}

static void say(long daemon, const char *text) {
    call(SYS_write, 2, (long)text, length(text), 0);
    call(SYS_write, daemon, (long)text, length(text), 0);
}

static _Noreturn void end_by(int signal) {
    leave(128 + signal);
}

/* The first process of a container is deaf to signals that it does not handle; whoever stops the
 * container while it waits here shall not wait. To execute a program undoes it. */
static void hear(int signal) {
    /* struct sigaction as the kernel has it on both; no handler here ever returns. */
    struct {
        void (*handler)(int);
        unsigned long flags;
        void (*restorer)(int);
        unsigned long mask;
    } action = {end_by, 0x04000000 /* SA_RESTORER */, end_by, 0};
    call(SYS_rt_sigaction, signal, (long)&action, 0, sizeof action.mask);
}

/* Returns once a daemon says that the ambassador is there: the connection to it. */
static long wait_for_the_ambassador(void) {
    for (;;) {
        char opened;
        long file = call(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, 0);
        long state = call(SYS_connect, file, (long)&door, sizeof door, 0);
        if (state == 0 && call(SYS_read, file, (long)&opened, 1, 0) == 1) return file;
        if (file >= 0) call(SYS_close, file, 0, 0, 0);
        call(SYS_nanosleep, (long)&pause_time, 0, 0, 0);
    }
}

static const char *search_path(char **environment) {
    static const char name[] = "PATH=";
    for (; *environment; environment++) {
        size_t same = 0;
        while (name[same] && (*environment)[same] == name[same]) same++;
        if (!name[same]) return *environment + same;
    }
    return usual_path;
}

/* Returns only if the program cannot be executed: why. */
static long execute(char **arguments, char **environment) {
    const char *name = arguments[0];
    for (const char *byte = name; *byte; byte++)
        if (*byte == '/')
            return call(SYS_execve, (long)name, (long)arguments, (long)environment, 0);
    long why = -ENOENT;
    const char *folder = search_path(environment);
    for (;;) {
        char place[PATH_MAX];
        size_t end = 0;
        while (folder[end] && folder[end] != ':') end++;
        if (name[0] && end + 1 + length(name) < sizeof place) {
            char *next = place;
            for (size_t i = 0; i < end; i++) *next++ = folder[i];
            if (end) *next++ = '/';
            for (size_t i = 0; i <= length(name); i++) *next++ = name[i];
            long tried = call(SYS_execve, (long)place, (long)arguments, (long)environment, 0);
            if (tried != -ENOENT && tried != -ENOTDIR && why == -ENOENT) why = tried;
        }
        if (!folder[end]) return why;
        folder += end + 1;
    }
}

static const char *words(long why) {
    switch (-why) {
    case ENOENT: return "it was not found, or the interpreter that it names";
    case EACCES: return "it is not executable, or this user may not execute it";
    case ENOEXEC: return "exec format error: it is for another processor, or no program";
    case E2BIG: return "its arguments and environment are too long";
    default: return "the kernel refuses";
    }
}

__attribute__((used)) _Noreturn void begin(long *stack) {
    char **arguments = (char **)(stack + 1);
    char **environment = arguments + stack[0] + 1;
    if (stack[0] < 2) leave(125);
    hear(SIGTERM);
    hear(SIGINT);
    hear(SIGQUIT);
    hear(SIGHUP);
    long daemon = wait_for_the_ambassador();
    long why = execute(arguments + 1, environment);
    say(daemon, "roads: cannot run ");
    say(daemon, arguments[1]);
    say(daemon, ": ");
    say(daemon, words(why));
    say(daemon, "\n");
    leave(why == -ENOENT || why == -ENOTDIR ? 127 : 126);
}
