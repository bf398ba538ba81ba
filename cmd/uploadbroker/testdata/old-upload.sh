#!/bin/sh
# A script as they were written years ago against the Altizure API: it knows
# nothing of this program but the endpoint that it was told.
#
#   old-upload.sh ENDPOINT APP_KEY USER_TOKEN PROJECT FILE...
#
# PROJECT is the id of one, or new:NAME. Prints "FILE STATE ERROR" for each file
# and ends with 1 unless all are Ready.
set -eu

endpoint=$1
app_key=$2
user_token=$3
project=$4
shift 4

# gql QUERY: posts it as a form, prints the JSON that comes.
gql() {
	curl --silent --show-error -H "key: $app_key" -H "altitoken: $user_token" \
		--data-urlencode "query=$1" "$endpoint/graphql"
}

# field NAME: the first text field of that name in the JSON on stdin.
field() {
	sed -n 's/.*"'"$1"'" *: *"\(\([^"\\]\|\\.\)*\)".*/\1/p' | head -n 1
}

# only ANSWER: the answer, unless it tells an error.
only() {
	case $1 in
	*'"errors"'*)
		echo "the server says: $(printf %s "$1" | field message)" >&2
		exit 1
		;;
	esac
	printf '%s\n' "$1"
}

# The nearest bucket, whatever its cloud; then the mutation of that cloud.
nearest=$(only "$(gql '{getGeoIPInfo{nearestBuckets{bucket cloud}}}')")
nearest=${nearest#*nearestBuckets} # its first entry follows
nearest=${nearest%%\}*}
bucket=$(printf %s "$nearest" | field bucket)
case $(printf %s "$nearest" | field cloud) in
S3) upload=uploadImageS3 ;;
MINIO) upload=uploadImageMinio ;;
*)
	echo "this script knows no upload to $nearest" >&2
	exit 1
	;;
esac

case $project in
new:*)
	answer=$(only "$(gql "mutation{createProject(name:\"${project#new:}\",type:free){id}}")")
	project=$(printf %s "$answer" | field id)
	;;
esac

failed=0
for file; do
	sum=$(sha1sum <"$file")
	sum=${sum%% *}
	name=${file##*/}
	answer=$(only "$(gql "mutation{$upload(pid:\"$project\",bucket:$bucket,filename:\"$name\",type:JPEG,checksum:\"$sum\"){url image{id state}}}")")
	url=$(printf %s "$answer" | field url)
	id=$(printf %s "$answer" | field id)
	only "$(gql "mutation{startImageUpload(id:\"$id\"){id}}")" >/dev/null

	status=
	for _ in 1 2 3 4 5; do
		status=$(curl --silent --output /dev/null --write-out '%{http_code}' -H 'Content-Type: JPEG' --upload-file "$file" "$url") || true
		[ "$status" = 200 ] && break
	done
	if [ "$status" != 200 ]; then
		echo "$file: the bucket answered $status" >&2
		failed=1
		continue
	fi

	state=
	while [ "$state" != Ready ] && [ "$state" != Invalid ]; do
		[ -z "$state" ] || sleep 1
		answer=$(only "$(gql "{project(id:\"$project\"){image(id:\"$id\"){state error}}}")")
		state=$(printf %s "$answer" | field state)
	done
	[ "$state" = Ready ] || failed=1
	why=$(printf %s "$answer" | sed -n 's/.*"error" *: *\[\(.*\)\].*/\1/p')
	echo "$name $state $why"
done
echo "project $project"
exit $failed
