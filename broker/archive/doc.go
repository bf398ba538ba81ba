// Package archive makes zips whose every byte is known before the first is read,
// from entries whose size and CRC-32 were proven, so that they can be served with
// their length, an ETag and any range of them.
//
// The files are STORED, as pictures are compressed already, without data
// descriptors, with names in UTF-8 and times of one second; zip64 fields are where
// the format needs them and nowhere else. The rules are those of PKWARE's
// APPNOTE.TXT 6.3.10; its sections are named in the code. The same entries give the
// same bytes.
//
// What a zip is made of is kept in a temporary file without a name (in memory while
// it is short), so that memory does not grow with the number of files, but for some
// 16 bytes of each name while it is laid out. Objects are read as the zip is, by the
// ETag that was proven; what can't be read as it was proven ends the zip with an
// error.
//
// Permissions needed: to write in the folder for temporary files, and whatever the
// Opener needs to read objects.
package archive
