/*
 * Vectors of mode 3, derived a second time by tests/unit/vectors.py. The seeds of the two sides and PRS are
 * SHA-256("haul-test " label) with labels ei, er, prs; the listener's name is "office"; the rest is as in
 * secure_vectors.h. A side makes what it needs of its seed: BLAKE2b keyed with it, of "haul/1 code sid" (16 bytes),
 * "haul/1 code scalar" and "haul/1 code ephemeral".
 */
#ifndef HAUL_TESTS_CODE_VECTORS_H
#define HAUL_TESTS_CODE_VECTORS_H

struct code_vector {
	const char *c1, *c2, *m1, *m2, *record; /* record 0 of the initiator: "\1confirm" */
};

static const struct code_vector code_vectors[] = {
	{
		"894841554c0d0a1a01030100000000002a3f6ebd6fb34d3803044ed88c2bd1f1da6502e4f83b450e8fe53e22d25b"
		"a227b259f12824c555cae0dd962043ac922a",
		"0833480d3b855a2fad7c8ada8a2e99c7b898f59f02245f94298c08ba78b0d370",
		"894841554c0d0a1a0103010000000000a86f08aa003467f729aa3fac761d73fe3bd1f26702ac20d76022b1612fe7"
		"08e234b0d33e9561db57c5424734a3f9f642c94697723b20d85d15dd6920d706e39ab023da9398c265c84ebf790f"
		"eb87adc57ef037ee5386bbf8af3ed30791ee34b6",
		"5099bfe1b2b87a5fe0bab1d12b23bd4fe6ca2bd63e781ec5736679e190c10f60d5e490611bf215c2facbed36b7a5"
		"41f3b7623a321328a419d70089e22ec0465a9d561069e57d330513ce7ed09fdf4f70",
		"18000000188f39436e12b50a9c8e8d17fb1bce13f0c4a84565748721",
	},
};

#endif
