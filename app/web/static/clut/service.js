/** The endpoints of a service, and the looks that it returns. */

import { Lut } from "./lut.js";

// Of a look that differs within the image, flattened is the nearest LUT.
const FORMAT = { format: "bin", flatten: "true" };

/** An error response: a problem document (RFC 9457), or another response without one. */
export class ServiceError extends Error {
  /**
   * @param {number} status of the response
   * @param {{title?: string, detail?: string, type?: string}} problem
   * @param {number | null} retryAfter seconds
   */
  constructor(status, problem, retryAfter) {
    super(problem.detail ?? problem.title ?? `HTTP ${status}`);
    this.name = "ServiceError";
    this.status = status;
    this.problem = problem;
    this.retryAfter = retryAfter;
  }
}

/** The endpoints of one service. */
export class ClutService {
  /**
   * @param {string | URL} base the address of the service; a path prefix is kept
   * @param {{key?: string | null}} options an API key, where the service requires one
   */
  constructor(base, { key = null } = {}) {
    this.base = String(base).replace(/\/*$/, "/");
    this.key = key;
  }

  /**
   * Send a request.
   *
   * @param {string} path with query, relative to the base
   * @param {RequestInit} options of fetch
   * @returns {Promise<Response>} a response with a status of 200 to 299
   * @throws {ServiceError} for any other status; a TypeError of fetch if there is no response
   */
  async request(path, options = {}) {
    const headers = new Headers(options.headers);
    if (this.key) headers.set("Authorization", `Bearer ${this.key}`);
    const response = await fetch(new URL(path, this.base), { ...options, headers });
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({}));
    const retryAfter = response.headers.get("Retry-After");
    throw new ServiceError(response.status, problem, retryAfter && Number(retryAfter));
  }

  /**
   * Predict the look of an image. Of a look that differs within the image, the LUT is the nearest.
   *
   * @param {Blob} thumbnail of `makeThumbnail`, or an image file
   * @param {{model?: string, signal?: AbortSignal}} options
   * @returns {Promise<Look>}
   */
  async predictLook(thumbnail, { model, signal } = {}) {
    const query = new URLSearchParams({ ...FORMAT, ...(model && { model }) });
    const options = { method: "POST", body: thumbnail, signal };
    return readLook(await this.request(`lut?${query}`, options));
  }

  /**
   * Get the LUT of a look again.
   *
   * @param {string} token the look token
   * @param {{signal?: AbortSignal}} options
   * @returns {Promise<Look>}
   */
  async getLook(token, { signal } = {}) {
    const path = `lut/${encodeURIComponent(token)}?${new URLSearchParams(FORMAT)}`;
    return readLook(await this.request(path, { signal }));
  }
}

/**
 * @typedef {object} Look
 * @property {Lut} lut
 * @property {string} token the look token; `POST /enhance?look=` applies the same look
 * @property {string} model NAME@VERSION
 */

async function readLook(response) {
  const lut = Lut.parse(await response.arrayBuffer());
  const { headers } = response;
  return { lut, token: headers.get("X-Look") ?? "", model: headers.get("X-Model") ?? "" };
}
