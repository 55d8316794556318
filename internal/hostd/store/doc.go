// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package store keeps the host's settings on disk, in the layout of the original API server: one small JSON file per
// key below a directory per version, found through a chain of links.
//
//	current -> v1 -> v1.26 -> v1.26.1 -> v1.26.1_<16 letters and digits>/
//	    live/settings/motd                      what counts, and beside it
//	    live/settings/motd.affected-services    what is known about it
//	    pending/<transaction>/settings/motd     what may come to count
//
// A store written by the original is readable here, and the other way round.
//
// A commit changes everything or nothing, also when the power goes at any instant: the new settings are built in a
// directory of their own, in which unchanged files are hard links, that directory is made durable, and then one link is
// switched. After Commit returned nil, the new settings survive a power cut; before that, the old ones do. Pending
// transactions survive the end of the process, but no power cut: they are dropped at boot anyway.
//
// One process at a time has a store open; that is what makes it safe to answer reads from memory.
package store
