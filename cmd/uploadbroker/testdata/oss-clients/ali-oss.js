'use strict';

// What ali-oss does for each step of a job. Both use it: clients.js with the
// package for node, page.html with its bundle for browsers.
//
// open(session) is an OSS client with that session; load(file) is a file of the
// job for one request, and source(file) the same for an upload in parts, which
// in node opens it by itself. Each step answers when it succeeded and throws
// ali-oss's own error when not.

// What a signed URL is used with: any client of HTTP.
async function send(method, url, body) {
  const res = await fetch(url, { method, body, headers: body ? { 'Content-Type': 'image/jpeg' } : {} });
  const text = await res.text();
  if (!res.ok) {
    const [, code] = /<Code>(.*?)<\/Code>/.exec(text) || [];
    throw Object.assign(new Error(text), { status: res.status, code });
  }
}

function aliOSSSteps({ open, load, source, bucket, partSize, v4 }) {
  const parts = { partSize, parallel: 4 };

  // An upload in parts that has been begun and has one part.
  async function begin(client, step) {
    const { uploadId } = await client.initMultipartUpload(step.key);
    const part = await client.uploadPart(step.key, uploadId, 1, source(step.file), 0, partSize);
    return { uploadId, part };
  }

  async function signed(client, method, key) {
    const headers = method === 'PUT' ? { 'Content-Type': 'image/jpeg' } : {};
    if (v4) return client.signatureUrlV4(method, 3600, { headers }, key);
    return client.signatureUrl(key, { method, expires: 3600, ...headers });
  }

  const all = {
    put: (client, step) => client.put(step.key, load(step.file)),
    multipart: (client, step) => client.multipartUpload(step.key, source(step.file), { ...parts }),
    initiate: (client, step) => client.initMultipartUpload(step.key),
    async 'multipart-abort'(client, step) {
      const { uploadId } = await begin(client, step);
      const listed = await client.listParts(step.key, uploadId);
      if ([].concat(listed.parts).length !== 1) throw new Error('not one part is listed, as was sent');
      await client.abortMultipartUpload(step.key, uploadId);
    },
    'put-url': async (client, step) => send('PUT', await signed(client, 'PUT', step.key), load(step.file)),
    append: (client, step) => client.append(step.key, load(step.file)),

    get: (client, step) => client.get(step.key),
    'get-url': async (client, step) => send('GET', await signed(client, 'GET', step.key)),
    head: (client, step) => client.head(step.key),
    meta: (client, step) => client.getObjectMeta(step.key),
    acl: (client, step) => client.getACL(step.key),
    list: (client, step) => client.list({ prefix: step.key, 'max-keys': 10 }),
    'list-v2': (client, step) => client.listV2({ prefix: step.key, 'max-keys': '10' }),
    'list-uploads': (client) => client.listUploads({ 'max-uploads': 10 }),

    delete: (client, step) => client.delete(step.key),
    'delete-many': (client, step) => client.deleteMulti([step.key]),
    copy: (client, step) => client.copy(step.key, step.from),
    async 'copy-part'(client, step) {
      const { uploadId } = await client.initMultipartUpload(step.key);
      try {
        await client.uploadPartCopy(step.key, uploadId, 1, '', { sourceKey: step.from, sourceBucketName: bucket });
      } finally {
        await client.abortMultipartUpload(step.key, uploadId);
      }
    },
    async 'part-beside'(client, step) {
      const { uploadId } = await begin(client, { ...step, key: step.from });
      try {
        await client.uploadPart(step.key, uploadId, 2, source(step.file), 0, partSize);
      } finally {
        await client.abortMultipartUpload(step.from, uploadId);
      }
    },
    'put-acl': (client, step) => client.putACL(step.key, 'public-read'),

    'bucket-info': (client) => client.getBucketInfo(bucket),
    'bucket-location': (client) => client.getBucketLocation(bucket),
    'bucket-acl': (client) => client.getBucketACL(bucket),
    'bucket-put-acl': (client) => client.putBucketACL(bucket, 'public-read-write'),
    'bucket-cors': (client) => client.getBucketCORS(bucket),
    'bucket-put-cors': (client) =>
      client.putBucketCORS(bucket, [{ allowedOrigin: '*', allowedMethod: ['PUT', 'DELETE'], allowedHeader: '*' }]),
    'bucket-delete-cors': (client) => client.deleteBucketCORS(bucket),
    'bucket-delete': (client) => client.deleteBucket(bucket),
    buckets: (client) => client.listBuckets(),
  };

  return async (step) => {
    if (!all[step.do]) throw new Error(`ali-oss has no step ${step.do}`);
    await all[step.do](open(step.session), step);
  };
}

function aliOSSOptions(job, session) {
  return {
    region: `oss-${job.region}`,
    endpoint: job.endpoint,
    bucket: job.bucket,
    accessKeyId: session.id,
    accessKeySecret: session.secret,
    stsToken: session.token || undefined,
    // The session is not to be renewed: each step has the one that it names.
    refreshSTSToken: async () => ({
      accessKeyId: session.id, accessKeySecret: session.secret, stsToken: session.token,
    }),
    refreshSTSTokenInterval: 24 * 3600 * 1000,
    authorizationV4: job.v4,
    sldEnable: job.path_style,
    secure: false,
    retryMax: 0,
  };
}

// One line of the answer, from what a step threw.
function aliOSSRefusal(err) {
  return { ok: false, status: err.status || 0, code: String(err.code || err.name), message: err.message };
}

if (typeof module !== 'undefined') module.exports = { aliOSSSteps, aliOSSOptions, aliOSSRefusal };
