// Package broker holds the words, states and rules of uploadbroker.
//
// A broker never carries the bytes of an upload. It answers whether an image is
// already there, hands out short-lived rights to write exactly one place in a
// bucket (a Grant), learns that the bytes arrived by looking for itself, and
// records the verdict of a validation. This package says what those words mean
// and which moves are legal; it knows no SQL, no HTTP and no cloud. Each of its
// services (Projects, Images, Keys) is a struct over a small store interface
// that it declares itself; package postgres implements them.
//
// It imports the standard library only.
package broker
