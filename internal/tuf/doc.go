// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package tuf is how a host comes to trust the bytes of an update, and how a publisher gives them that trust.
//
// The actors are those of The Update Framework. Four roles sign four files: root says whose keys count, targets lists
// names, lengths and digests of what can be downloaded, snapshot says which targets file is current, and timestamp,
// which is short-lived, says which snapshot is current. A host starts from the root.json of its own image.
//
// Client promises: no byte of metadata is used before enough keys of a trusted root have signed it; nothing goes back
// to an older state than any earlier run has seen; metadata that has expired is refused; and a target reader reports
// io.EOF only after the whole target matched its signed length and digest. A hostile or broken server can at most
// make it fail, within bounded time, memory and disk.
//
// Repository promises: readers of a repository on disk see the old or the new state at every instant, also after a
// power cut, because files are only added and the timestamp is replaced last.
//
// Signatures and metadata workflow come from go-tuf; transport, storage and streaming are ours, because go-tuf's hold
// whole targets in memory and cannot be cancelled. What is published can be read by the original client (tough).
package tuf
