// Package odmstand is a stand-in for a NodeODM 2.2, for tests: this project's own
// code that speaks the node's protocol, since the node itself (AGPL, Node.js, with
// OpenDroneMap behind it) can't be part of them.
//
// Faithful are: refusals with status 200 and a field error; the token in the query;
// /task/new as multipart alone; set-uuid, its form and its refusal when the task
// exists; init, upload and commit, with what they leave in their folders, so that a
// transfer that breaks off leaves a piece and the next file of the same name gets
// another; options that are checked, and passed over when their name is not known;
// zipurl, which is fetched after the answer, with a HEAD whose status is not looked
// at and a GET whose status is not looked at either; unzipping without folders; *.txt
// as ground control points; the states 10, 20, 30, 40, 50; /info of a task before,
// while and after; cancel, remove and restart; the webhook, called only for tasks
// that ran, six times at most, until the answer is exactly 200; all.zip, and a no of
// status 200 before it is there.
//
// It does not reconstruct: a task moves a step on each time that somebody asks for
// it, and all.zip holds the name and SHA-1 of each image, which proves what arrived.
// Tasks do not survive the process, seed.zip and S3 are not known, and of ClusterODM
// it has only what a client meets: no zipurl, status 401, its words.
//
// It writes below the folder that it is given, and connects to where zipurl and
// webhook point: never for anything but tests.
package odmstand
