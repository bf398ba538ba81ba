// Package reconstruct holds the engines that reconstructions run on: outside of
// this program, spoken to over HTTP, each a broker.Engine.
//
// NodeODM (and what speaks its protocol, such as ClusterODM) fetches the task's zip
// or is sent the images one by one. It is licensed under the AGPL and stays a
// process of its own; nothing of it is part of this program.
//
// Webhook is told by signed messages, whoever it is, and reports by itself.
//
// The operator names NodeODM's address, so it is not guarded as those of clients are;
// a webhook's is, and the URLs of the results that it reports. An engine needs no
// right in any bucket: what it reads comes through this program or by links that end.
// Its secrets are in neither errors nor logs.
// Side effects: runs at the engine, which cost somebody time and money.
package reconstruct
