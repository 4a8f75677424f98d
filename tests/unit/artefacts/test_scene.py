import numpy as np
import pytest

from gnnip.artefacts.scene import Scene, rotation_to, vertex_normals

RED, BLUE = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])


def octahedron(radius=1.0):
    vertices = radius * np.array(
        [[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]
    )
    triangles = [
        [0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4],
        [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5],
    ]  # fmt: skip
    return vertices, np.array(triangles)


def test_the_nearer_sphere_hides_the_other_in_either_order():
    images = []
    for order in ((0, 1), (1, 0)):
        scene = Scene((0.0, 0.0), 4.0, 4.0, 10.0)
        balls = [(np.array([0.0, 0, 1]), RED), (np.array([0.0, 0, -3]), BLUE)]
        for k in order:
            scene.sphere(balls[k][0], 1.0, balls[k][1])
        images.append(scene.composite())
    np.testing.assert_array_equal(*images)
    r, _, b, _ = images[0][20, 20]
    assert r > 2 * b


def test_sphere_and_stick_cover_their_size():
    scene = Scene((0.0, 0.0), 6.0, 6.0, 20.0)
    scene.sphere(np.zeros(3), 1.5, RED)
    area = np.isfinite(scene.opaque.depth).sum() / scene.scale**2
    assert area == pytest.approx(np.pi * 1.5**2, rel=0.01)
    assert scene.opaque.depth.max() == pytest.approx(1.5, abs=0.01)
    scene = Scene((0.0, 0.0), 6.0, 6.0, 20.0)
    scene.stick(np.array([-2.0, 0, 0]), np.array([2.0, 0, 1.0]), 0.25, BLUE)
    area = np.isfinite(scene.opaque.depth).sum() / scene.scale**2
    assert area == pytest.approx(4.0 * 0.5, rel=0.05)
    scene = Scene((0.0, 0.0), 6.0, 6.0, 20.0)
    scene.dashes(np.array([-2.0, 0, 0]), np.array([2.0, 0, 0]), 0.25, BLUE)
    dashed = np.isfinite(scene.opaque.depth).sum() / scene.scale**2
    assert 0.5 * area < dashed < 0.75 * area


def test_what_lies_outside_the_window_is_left_out():
    scene = Scene((0.0, 0.0), 2.0, 2.0, 10.0)
    scene.sphere(np.array([50.0, 0, 0]), 1.0, RED)
    scene.stick(np.array([50.0, 0, 0]), np.array([52.0, 0, 0]), 0.1, RED)
    assert (scene.composite()[..., :3] == 1.0).all()


def test_translucent_surface_mixes_with_what_is_behind_and_not_in_front():
    vertices, triangles = octahedron()
    normals = vertex_normals(vertices, triangles)
    pictures = {}
    for z in (-2.5, 2.5):
        scene = Scene((0.0, 0.0), 4.0, 4.0, 10.0)
        scene.sphere(np.array([0.0, 0, z]), 0.5, RED)
        sheets = scene.surface(vertices, normals, triangles)
        pictures[z] = scene.composite(sheets, BLUE)[20, 20]
    assert pictures[-2.5][2] > 0.3  # blue over red
    assert pictures[-2.5][0] > 0.1
    assert pictures[2.5][2] < 0.3  # the red sphere is in front
    empty = Scene((0.0, 0.0), 4.0, 4.0, 10.0)
    front, back = empty.surface(vertices, normals, triangles)
    assert front.depth[40, 40] == pytest.approx(1.0, abs=0.06)
    assert back.depth[40, 40] == pytest.approx(-1.0, abs=0.06)
    assert np.isneginf(front.depth[0, 0])
    assert np.isneginf(back.depth[0, 0])


def test_ghosts_let_the_surface_shine_through():
    scene = Scene((0.0, 0.0), 4.0, 4.0, 10.0)
    scene.sphere(np.array([0.0, 0, -1]), 1.0, BLUE)
    scene.sphere(np.array([0.0, 0, 1]), 1.0, RED, ghost=True)
    r, _, b, _ = scene.composite(ghost_alpha=0.25)[20, 20]
    assert b > r > 0.1


def test_depth_cue_fades_what_is_far():
    scene = Scene((0.0, 0.0), 8.0, 4.0, 10.0)
    scene.sphere(np.array([-2.0, 0, 0]), 1.0, RED)
    scene.sphere(np.array([2.0, 0, -9.0]), 1.0, RED)
    image = scene.composite(fog=(-10.0, 0.0))
    near, far = image[20, 20, 1], image[20, 60, 1]
    assert far > near + 0.3


def test_rotations_and_normals():
    rng = np.random.default_rng(0)
    pairs = [rng.normal(size=(2, 3)) for _ in range(20)]
    pairs.append(np.array([[1.0, 2, 3], [-1.0, -2, -3]]))
    for a, b in pairs:
        R = rotation_to(a, b)
        np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-10)
        assert np.linalg.det(R) == pytest.approx(1.0)
        np.testing.assert_allclose(R @ a / np.linalg.norm(a), b / np.linalg.norm(b), atol=1e-10)
    vertices, triangles = octahedron(2.0)
    for faces in (triangles, triangles[:, ::-1]):
        np.testing.assert_allclose(vertex_normals(vertices, faces), vertices / 2.0, atol=1e-12)
