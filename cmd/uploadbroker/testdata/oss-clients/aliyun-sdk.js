'use strict';

// What aliyun-sdk 1.x does for each step of a job. It has no upload in parts of
// its own: programs send the parts themselves, as here.

function aliyunSDKSteps({ open, load, bucket, partSize }) {
  function call(client, operation, params) {
    return new Promise((resolve, reject) => {
      client[operation]({ Bucket: bucket, ...params }, (err, data) => (err ? reject(err) : resolve(data)));
    });
  }

  async function sendParts(client, step, uploadId, count) {
    const body = load(step.file);
    const sent = [];
    for (let at = 0; at < body.length && sent.length < count; at += partSize) {
      const number = sent.length + 1;
      const { ETag } = await call(client, 'uploadPart', {
        Key: step.key, UploadId: uploadId, PartNumber: String(number), Body: body.subarray(at, at + partSize),
      });
      sent.push({ PartNumber: number, ETag });
    }
    return sent;
  }

  const on = (operation, params = {}) => (client) => call(client, operation, params);
  const onKey = (operation, params = {}) => (client, step) => call(client, operation, { Key: step.key, ...params });

  const all = {
    put: (client, step) => call(client, 'putObject', { Key: step.key, Body: load(step.file), ContentType: 'image/jpeg' }),
    async multipart(client, step) {
      const { UploadId } = await call(client, 'createMultipartUpload', { Key: step.key, ContentType: 'image/jpeg' });
      const Parts = await sendParts(client, step, UploadId, Infinity);
      await call(client, 'completeMultipartUpload', { Key: step.key, UploadId, CompleteMultipartUpload: { Parts } });
    },
    initiate: onKey('createMultipartUpload'),
    async 'multipart-abort'(client, step) {
      const { UploadId } = await call(client, 'createMultipartUpload', { Key: step.key });
      await sendParts(client, step, UploadId, 1);
      const listed = await call(client, 'listParts', { Key: step.key, UploadId });
      if (listed.Parts.length !== 1) throw new Error('not one part is listed, as was sent');
      await call(client, 'abortMultipartUpload', { Key: step.key, UploadId });
    },
    append: (client, step) => call(client, 'appendObject', { Key: step.key, Body: load(step.file), Position: '0' }),

    get: onKey('getObject'),
    head: onKey('headObject'),
    meta: onKey('getObjectMeta'),
    acl: onKey('getObjectAcl'),
    list: (client, step) => call(client, 'listObjects', { Prefix: step.key, MaxKeys: '10' }),
    'list-uploads': on('listMultipartUploads'),

    delete: onKey('deleteObject'),
    'delete-many': (client, step) => call(client, 'deleteObjects', { Delete: { Objects: [{ Key: step.key }], Quiet: false } }),
    copy: (client, step) => call(client, 'copyObject', { Key: step.key, CopySource: `/${bucket}/${encodeURIComponent(step.from)}` }),
    async 'copy-part'(client, step) {
      const { UploadId } = await call(client, 'createMultipartUpload', { Key: step.key });
      try {
        await call(client, 'uploadPartCopy', {
          Key: step.key, UploadId, PartNumber: '1', CopySource: `/${bucket}/${encodeURIComponent(step.from)}`,
        });
      } finally {
        await call(client, 'abortMultipartUpload', { Key: step.key, UploadId });
      }
    },
    async 'part-beside'(client, step) {
      const { UploadId } = await call(client, 'createMultipartUpload', { Key: step.from });
      try {
        await sendParts(client, step, UploadId, 1);
      } finally {
        await call(client, 'abortMultipartUpload', { Key: step.from, UploadId });
      }
    },
    'put-acl': onKey('putObjectAcl', { ACL: 'public-read' }),

    'bucket-location': on('getBucketLocation'),
    'bucket-acl': on('getBucketAcl'),
    'bucket-put-acl': on('putBucketAcl', { ACL: 'public-read-write' }),
    'bucket-cors': on('getBucketCors'),
    'bucket-put-cors': on('putBucketCors', {
      CORSConfiguration: { CORSRules: [{ AllowedOrigins: ['*'], AllowedMethods: ['PUT', 'DELETE'], AllowedHeaders: ['*'] }] },
    }),
    'bucket-delete-cors': on('deleteBucketCors'),
    'bucket-delete': on('deleteBucket'),
    buckets: (client) => new Promise((resolve, reject) => {
      client.listBuckets({}, (err, data) => (err ? reject(err) : resolve(data)));
    }),
  };

  return async (step) => {
    if (!all[step.do]) throw new Error(`aliyun-sdk has no step ${step.do}`);
    await all[step.do](open(step.session), step);
  };
}

function aliyunSDKOptions(job, session) {
  return {
    endpoint: job.endpoint,
    apiVersion: '2013-10-15',
    accessKeyId: session.id,
    secretAccessKey: session.secret,
    securityToken: session.token || undefined,
    maxRetries: 0,
  };
}

function aliyunSDKRefusal(err) {
  return { ok: false, status: err.statusCode || 0, code: String(err.code), message: err.message || '' };
}

module.exports = { aliyunSDKSteps, aliyunSDKOptions, aliyunSDKRefusal };
