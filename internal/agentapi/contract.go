// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package agentapi is the contract between a node's agent and the cluster's apiserver: paths, headers,
// wire types and the client.
//
// There are two parties. The agent reports the status of its own node and asks for cordon, drain and
// uncordon of that node; the apiserver is the only one with Kubernetes rights, and tells the agent what
// the controller wants over a stream. The requests and their JSON are those of Bottlerocket's update
// operator, so that its agents work with our apiserver; the stream is our own addition.
//
// The package needs nothing but the standard library: it is linked into the agent, which must stay small.
package agentapi

import "time"

// Names of the service the agents talk to and of what proves their identity.
const (
	// ServiceName is the Kubernetes Service of the apiserver.
	ServiceName = "brupop-apiserver"
	// Audience is the audience of the agents' projected service account token.
	Audience = "brupop-apiserver"
	// AgentServiceAccount is the service account of the agents, in the operator's namespace.
	AgentServiceAccount = "brupop-agent-service-account"
	// TokenFile is where the projected token is mounted in the agent's container.
	TokenFile = "/var/run/secrets/tokens/bottlerocket-agent-service-account-token"
	// CAFile is where the CA bundle is mounted in the agent's container.
	CAFile = "/etc/brupop-tls-keys/ca.crt"
)

// Paths of the HTTP API.
const (
	// PathResource takes POST (create the node's object) and PUT (write its status).
	PathResource = "/bottlerocket-node-resource"
	// PathWatch takes GET and answers with a stream of events, one JSON object per line.
	PathWatch = PathResource + "/watch"
	// PathDrain takes POST and answers when the node is cordoned and drained.
	PathDrain = PathResource + "/cordon-and-drain"
	// PathUncordon takes POST and lifts what the operator itself put on the node.
	PathUncordon = PathResource + "/uncordon"
	// PathExcludeFromLB takes POST and takes the node out of external load balancers.
	PathExcludeFromLB = PathResource + "/exclude-from-lb"
	// PathRemoveExclusion takes POST and undoes PathExcludeFromLB.
	PathRemoveExclusion = PathResource + "/remove-exclusion-from-lb"
	// PathPing takes GET without authentication and answers "pong" when the server can serve.
	PathPing = "/ping"
)

// Headers of each authenticated request, and one of the answers.
const (
	// HeaderNodeName carries the name of the node that is acted upon.
	HeaderNodeName = "BrupopNodeName"
	// HeaderNodeUID carries the UID of that node; optional, verified when given.
	HeaderNodeUID = "BrupopNodeUid"
	// HeaderToken carries the projected token, without a "Bearer" prefix.
	HeaderToken = "BrupopK8sAuthToken"
	// HeaderRevision is set on the answer to PUT: the revision of the object after the write, so that the
	// agent can tell an event from before its write. An addition to the original contract.
	HeaderRevision = "Drydock-Revision"
)

const (
	// MaxBody is the largest request body the apiserver accepts, in bytes.
	MaxBody = 2 << 20
	// HeartbeatInterval is the longest silence of a stream: after that the apiserver sends HEARTBEAT.
	HeartbeatInterval = 15 * time.Second
	// StreamTimeout is how long the agent accepts silence before it takes a stream for dead.
	StreamTimeout = 45 * time.Second
)
