// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package hostapi is the contract of the host's API socket: its paths, its types exactly as they travel, and a
// client.
//
// The host daemon serves it on a Unix socket as plain HTTP/1.1; access is decided by who may open the socket. The
// contract is older than Drydock: unmodified clients of the original API server must work with our server, and our
// client must work with theirs. Names and spellings here are therefore fixed; new keys and query parameters may be
// added, and readers ignore what they do not know.
//
// The package links nothing but the standard library, because the node agent, which must stay small, imports it.
package hostapi

import "time"

// Paths of the API. They are case-sensitive and have no trailing slash.
const (
	PathOS               = "/os"
	PathUpdateStatus     = "/updates/status"
	PathRefreshUpdates   = "/actions/refresh-updates"
	PathPrepareUpdate    = "/actions/prepare-update"
	PathActivateUpdate   = "/actions/activate-update"
	PathDeactivateUpdate = "/actions/deactivate-update"
	PathReboot           = "/actions/reboot"
	PathReport           = "/report"

	// PathUnblockUpdate (an addition) lets a version be tried again that has fallen back on this host; the version is
	// in VersionParam.
	PathUnblockUpdate = "/actions/unblock-update"
)

const (
	// DefaultSocket is where the host daemon listens.
	DefaultSocket = "/run/api.sock"

	// MaxBody is the largest request or reply body either side accepts, in bytes.
	MaxBody = 2 << 20

	// WaitParam is an additive query parameter of GET /updates/status: a Go duration. The answer then comes as soon
	// as no update command runs, or with ErrBusy's status when the duration is over. Servers that do not know it
	// answer at once.
	WaitParam = "wait"

	// VersionParam of PathUnblockUpdate names a version, without v.
	VersionParam = "version"

	// ProgressParam is an additive query parameter of GET /updates/status. With true, a status is given while an update
	// command runs too: the one before that command, with the field progress.
	ProgressParam = "progress"

	// MaxWait bounds WaitParam; a longer duration counts as this one.
	MaxWait = 10 * time.Minute
)

// OS identifies the running system; the reply of GET /os.
type OS struct {
	Arch       string `json:"arch"`        // x86_64 or aarch64
	BuildID    string `json:"build_id"`    // short id of the build
	PrettyName string `json:"pretty_name"` // for people
	VariantID  string `json:"variant_id"`  // which variant of the system
	VersionID  string `json:"version_id"`  // semver without v

	// BootID is the kernel's random id of this boot, and Slot the slot it runs from, A or B. Both are additions:
	// other servers leave them out.
	BootID string `json:"boot_id,omitempty"`
	Slot   string `json:"slot,omitempty"`

	// Boot says whether this system has proved itself, also before the first update command of a boot, when there is no
	// UpdateStatus. An addition.
	Boot *Boot `json:"boot,omitempty"`
}

// Report is a report that a host can make; the reply of GET /report is a list of them.
type Report struct {
	Name        string `json:"name"`
	Description string `json:"description"`
}

// State says how far an update has come on this host.
type State string

// The states of an update.
const (
	StateIdle      State = "Idle"      // nothing to do is known
	StateAvailable State = "Available" // an update was chosen
	StateStaged    State = "Staged"    // its image is in the idle slot, verified, not yet to boot
	StateReady     State = "Ready"     // the next boot uses it
)

// Command is an update command, as spelled in CommandResult.
type Command string

// The update commands. Unmodified agents cannot read other words: none may be added.
const (
	CommandRefresh    Command = "refresh"
	CommandPrepare    Command = "prepare"
	CommandActivate   Command = "activate"
	CommandDeactivate Command = "deactivate"
)

// CommandStatus says how a command ended.
type CommandStatus string

// The ends of a command.
const (
	StatusSuccess CommandStatus = "Success"
	StatusFailed  CommandStatus = "Failed"
	StatusUnknown CommandStatus = "Unknown" // never sent by our server
)

// Image names an update image.
type Image struct {
	Arch    string `json:"arch"`
	Version string `json:"version"` // semver without v
	Variant string `json:"variant"`
}

// Partition describes one slot of the disk as the update system sees it.
type Partition struct {
	Image      Image `json:"image"`
	NextToBoot bool  `json:"next_to_boot"`
}

// CommandResult is how the most recent update command ended.
type CommandResult struct {
	Type       Command       `json:"cmd_type"`
	Status     CommandStatus `json:"cmd_status"`
	Timestamp  string        `json:"timestamp"`   // RFC 3339, UTC, nanoseconds: two results always differ
	ExitStatus int           `json:"exit_status"` // 0, or a positive number
	Stderr     string        `json:"stderr"`      // why it failed; "" on success

	// Interrupted says that the command failed because the host's daemon ended, by a signal or otherwise: starting it
	// again is all that it needs. An addition.
	Interrupted bool `json:"interrupted,omitempty"`
}

// BlockedUpdate is a version that this host refuses, because it did not stay up here.
type BlockedUpdate struct {
	Image  Image  `json:"image"`
	Reason string `json:"reason"` // for people, one line
	Since  string `json:"since"`  // RFC 3339, UTC: when the fallback was noticed
}

// HeldReason is why a host stays although something else is published for it.
type HeldReason string

// The reasons.
const (
	HeldByWave    HeldReason = "wave"    // its turn comes at Until
	HeldByLock    HeldReason = "lock"    // it is locked to LockedTo
	HeldAsBlocked HeldReason = "blocked" // it fell back here, see BlockedUpdate
)

// HeldUpdate is an update that this host does not move to for now.
type HeldUpdate struct {
	Version  string     `json:"version"` // without v
	Reason   HeldReason `json:"reason"`
	Until    string     `json:"until,omitempty"`     // RFC 3339, UTC
	LockedTo string     `json:"locked_to,omitempty"` // the version of the lock
}

// Boot says whether the running system has proved itself.
type Boot struct {
	Slot       string      `json:"slot"`       // A or B
	Successful bool        `json:"successful"` // marked so, now or at an earlier boot
	Checks     []BootCheck `json:"checks"`     // those that have run, in their order
}

// BootCheck is the latest run of one health check.
type BootCheck struct {
	Name   string `json:"name"`
	Passed bool   `json:"passed"`
	Error  string `json:"error,omitempty"` // why it did not pass, one line
}

// Progress says how far the running update command has come.
type Progress struct {
	Command Command `json:"command"`
	Target  string  `json:"target"` // what is downloaded now; "" before the first
	Bytes   int64   `json:"bytes"`  // of the target, as downloaded
	Total   int64   `json:"total"`  // length of the target; 0 before the first
}

// UpdateStatus is the reply of GET /updates/status. All keys up to most_recent_command are always present; the ones
// after it are additions, left out while there is nothing to say.
type UpdateStatus struct {
	UpdateState       State          `json:"update_state"`
	AvailableUpdates  []string       `json:"available_updates"` // versions without v, newest first
	ChosenUpdate      *Image         `json:"chosen_update"`
	ActivePartition   *Partition     `json:"active_partition"`
	StagingPartition  *Partition     `json:"staging_partition"` // nil until an image was prepared
	MostRecentCommand *CommandResult `json:"most_recent_command"`

	BlockedUpdates []BlockedUpdate `json:"blocked_updates,omitempty"`
	HeldUpdate     *HeldUpdate     `json:"held_update,omitempty"` // as of the last refresh that succeeded; nil if one is chosen
	Boot           *Boot           `json:"boot,omitempty"`
	Progress       *Progress       `json:"progress,omitempty"` // only when asked for, see ProgressParam
}
