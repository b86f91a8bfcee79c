# One image, two ways to run it (details in README.md):
#   with DATABASE_URL      against your Postgres; keeps nothing of its own
#   without DATABASE_URL   as a single container with the embedded Postgres, data in /data:
#     docker run --init --name orderloom -p 3000:3000 -v orderloom:/data \
#       -e ADMIN_EMAIL=… -e ADMIN_PASSWORD=… -e DOCS=true -e PAYMENT_PROVIDER=sandbox orderloom
# `--init` reaps the processes of an embedded Postgres that was killed; `docker stop --time 30` lets requests finish.

FROM node:24-bookworm-slim AS build
WORKDIR /app
# a package of Swagger UI reports its installation otherwise
ENV SCARF_ANALYTICS=false
# Dependencies are a layer of their own: they change less often than the source.
COPY package.json package-lock.json .npmrc ./
# The build tools are among the development dependencies, which NODE_ENV=production would leave out.
RUN npm ci --include=dev
COPY tsconfig.json tsconfig.build.json nest-cli.json ./
COPY migrations ./migrations
COPY src ./src
# Optional dependencies stay: among them are the embedded Postgres and the native part of argon2.
RUN npm run build && npm prune --omit=dev

FROM node:24-bookworm-slim
WORKDIR /app
ENV NODE_ENV=production HOST=0.0.0.0 PORT=3000 DATA_DIR=/data
# Code belongs to root and the process runs as `node`, so it cannot change itself. A named volume takes over the owner
# of /data; a bind mount must be writable by uid 1000.
RUN mkdir /data && chown node:node /data && chmod 700 /data
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
USER node
VOLUME /data
EXPOSE 3000
# Answers 503 while starting and while draining. Node's own fetch, because the image has no curl.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + process.env.PORT + '/health/ready').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
STOPSIGNAL SIGTERM
# Exec form: node itself gets the signal and drains before it ends.
CMD ["node", "--enable-source-maps", "dist/src/main.js"]
