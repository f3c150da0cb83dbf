/*
 * boot: which boot of this machine it is, and which process a number means. What a process wrote without
 * syncing holds for its boot only, and a process number is used again, after a boot at the latest.
 */
#ifndef HAUL_LIB_BOOT_H
#define HAUL_LIB_BOOT_H

#include <stdint.h>
#include <sys/types.h>

/* The same in all processes of one boot, another in the next. Where the kernel does not tell, another in
 * every process: then nothing of an earlier one is believed. To be called once before entering a sandbox. */
uint64_t boot_id(void);

/* When a process began, in clock ticks since boot; 0 when there is none or it cannot be told. */
uint64_t boot_process_start(pid_t pid);

#endif
