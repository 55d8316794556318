// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package slot decides which of two system images on a disk boots.
//
// A disk has a set of boot, root and hash partitions for slot A and, on most disks, a second set for
// slot B. Each boot partition carries the flags of its slot in its GPT attribute field, in bits that are
// the same on Bottlerocket disks:
//
//	48-51  priority, 0 to 15; 0 never boots
//	52-55  tries left, 0 to 15
//	56     successful: this system has proved itself
//
// and the PRIVATE partition has bit 57: some system on this disk has booted successfully.
//
// The boot loader takes the slot with the highest priority among those that have tries left or are
// successful, A on a tie, and spends a try if there is one (Next, Boot). An update runs ClearInactive,
// writes the image, MarkInactiveValid, UpgradeToInactive; the new system calls MarkSuccessful once it
// has proved itself. Without that it has had its one try, and the next boot is the old system's.
//
// The promise: at every instant, also half-way through any call here, a good slot can boot. Each call
// changes the partition table in memory and writes it once (gpt.Table.Write), so a power cut leaves the
// flags from before or after the call, never a mixture. Calls that take away the bootability of the
// inactive slot are refused with ErrActiveNotGood while the running one is not marked successful: until
// then the inactive slot may be the only good one. (The original tool has no such check.) Tests cut the
// power after each write to hold us to all that.
//
// Two words for "can boot": the boot loader demands a priority above zero from every slot. The original
// command-line tool counts a successful slot as bootable also at priority zero, which decides whether a
// roll-back to it is allowed, since the roll-back gives it a priority; RollbackToInactive does so too.
// Next always answers for the boot loader.
package slot
