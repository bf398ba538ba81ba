SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  validatorUrl: null, // ask nobody else
  tryItOutEnabled: true,
  persistAuthorization: false, // a key is not to lie in a browser's storage
  defaultModelsExpandDepth: 0,
});
