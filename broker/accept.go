package broker

import (
	"context"
	"strings"
	"time"
)

// Accept keeps a damaged image by its owner's word: one that is Invalid because it
// is corrupt or truncated becomes Ready, and says that it was accepted. It speaks
// of the bytes that were judged: should others come, they are judged anew.
// Accepting again answers the same. CodeConflict for every other image.
func (s *Images) Accept(ctx context.Context, by Caller, projectID, id string) (Image, error) {
	if _, err := s.open(ctx, by, ScopeManage, projectID); err != nil {
		return Image{}, err
	}
	img, err := s.one(ctx, projectID, id)
	if err != nil {
		return Image{}, err
	}
	now := s.Now()
	if _, ok := Next(img.Standing(now), Occurrence{Event: EventAccept}); !ok {
		return accepted(img)
	}
	moved, err := s.Store.Accept(ctx, img, now, by)
	if err != nil {
		return Image{}, err
	}
	before := img
	if img, err = s.one(ctx, projectID, id); err != nil {
		return Image{}, err
	}
	// Another call may have been quicker, with these very bytes.
	if moved && img.State == StateReady && img.Accepted || img.Attempt == before.Attempt && img.ETag == before.ETag {
		return accepted(img)
	}
	return Image{}, Errorf(CodeConflict, "the image changed at this moment and is %s now; look at it again", img.State)
}

// accepted is the answer for an image that no acceptance moves.
func accepted(img Image) (Image, error) {
	if img.State == StateReady && img.Accepted {
		return img, nil
	}
	return Image{}, Errorf(CodeConflict, "%s", whyNotAccepted(img))
}

// whyNotAccepted says it in words for the owner.
func whyNotAccepted(img Image) string {
	switch {
	case img.State == StateReady:
		return "the image is Ready and sound; there is nothing to accept"
	case img.State != StateInvalid:
		return "the image is " + string(img.State) + "; only one that is Invalid can be accepted"
	case img.SweptAt != nil:
		return "its object was deleted on " + img.SweptAt.UTC().Format(time.DateOnly) + "; register the image again and upload it"
	}
	var codes []string
	for _, r := range img.Reasons {
		codes = append(codes, string(r.Code))
	}
	return "only a corrupt or truncated image can be accepted; this one is Invalid for " + strings.Join(codes, ", ")
}
