/*
 * Vectors of haul's own messages; tests/unit/vectors.py derives them a second time, in another language. K is
 * 00 01 .. 1f; the secrets are SHA-256("haul-test " label) with labels ei, er, si, sr, the instances the
 * first 16 bytes of ii and ir; no name; M1 offers minor 1, suites 3, bodies of 1 MiB, M2 the same and 8 MiB
 * of credit.
 */
#ifndef HAUL_TESTS_SECURE_VECTORS_H
#define HAUL_TESTS_SECURE_VECTORS_H

struct secure_vector {
	const char *m1, *m2, *record; /* record 0 of the initiator: "\1confirm" */
};

static const struct secure_vector secure_vectors[] = {
	{
		"894841554c0d0a1a01010100000000003434b200a4d035a09c82bf9aa4cdf10edbd6d22f8e51e845a8ace44dede9"
		"7c9c475d5f4e26964b5d16a0ef4aa0ee2827"
		"f3d5dbc84d280287de68cf80dbbb26a533ae23d44d81196c9b0dfcb6054a4ca11bd9d335b0f32c0bd895d853279e"
		"625c",
		"3c3be9710a619d00ac9ea7543882f4001b3d44213043fbd991621b7418af87504ec06c2f412db90e34fa513782fb"
		"ebcfe1d31c281b1d7b45848e90269d57526e"
		"9484e9e2be1ee96c2a08c6f6d337ff0e",
		"18000000e5419b59471e09250a2a5e563f9073bf9674ad8f922d92d9",
	},
	{
		"894841554c0d0a1a0102010000000000d848553810fe369ef282565dba4fad9bdbd6d22f8e51e845a8ace44dede9"
		"7c9c475d5f4e26964b5d16a0ef4aa0ee2827"
		"c04d6713123a238a011f234907bcf51ab0165884441d20dde31eea32e59328af29e4f1230b44958ac3146e2d7b16"
		"8805a30fad6b9fcbeb0a4e2876d7cc35ed24"
		"92c4fe9c4b25b3bc58c0af8d4213ee93c074d3ac478a28aebe1c2f8ee4959228",
		"3c3be9710a619d00ac9ea7543882f4001b3d44213043fbd991621b7418af8750f531b5ce315ba81efc3a84e0cfdb"
		"301b5be91165698f3c1a8ecba930eb081a60"
		"34145f69cabdc64030a4dfdb03918627",
		"180000000387c3797f2f34c7c330f61ec5e1855dc4f108fe5b95063c",
	},
};

#endif
