// Where on the screen a cell's box may be seen. Part of renderer.cpp.
#pragma once

#include <algorithm>
#include <cmath>

#include "cpu/march/scene.h"

#define KNF_SHARED static inline
#include "sampling_rule.h"

namespace knf {

// Inverse of the rotation part (which may hold a scale): world to camera axes. False if it has none.
static bool invert(const float (&m)[9], double (&inverse)[9]) {
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            const int r0 = (j + 1) % 3, r1 = (j + 2) % 3, c0 = (i + 1) % 3, c1 = (i + 2) % 3;
            inverse[3 * i + j] = static_cast<double>(m[3 * r0 + c0]) * m[3 * r1 + c1] -
                                 static_cast<double>(m[3 * r0 + c1]) * m[3 * r1 + c0];
        }
    const double determinant = m[0] * inverse[0] + m[1] * inverse[3] + m[2] * inverse[6];
    if (!(std::abs(determinant) > 1e-30)) return false;
    for (double& value : inverse) value /= determinant;
    return true;
}

// A z-depth that no sample is nearer than.
struct Nearest {
    double depth;   // 0: there is none
    double margin;  // how many pixels the rounding of a sample's position may shift it there
};

// box_slack is eight times the rounding of a position along one axis, as counted from the operations of
// kernels/sampling.py. That of all axes together shifts a sample by the root of 3 of it along x, y and z.
static Nearest nearest_samples(const FrameSetup& frame, const double (&to_camera)[9], const Grid& outermost) {
    double slack = 0, scale = 0;
    for (int axis = 0; axis < 3; axis++) {
        const double* row = to_camera + 3 * axis;
        scale = std::max(scale, std::sqrt(row[0] * row[0] + row[1] * row[1] + row[2] * row[2]));
        slack =
            std::max<double>(slack, box_slack(frame.origin[axis], outermost.box_min[axis], outermost.box_max[axis]));
    }
    slack *= scale;
    const double depth = frame.near - slack;
    if (!(depth > 0)) return {0, 0};
    return {depth, 0.5 * slack * std::max(std::abs(frame.fx), std::abs(frame.fy)) / depth};
}

// Pixels whose rays may meet the part of the box that is not nearer than any sample. If no depth is known of that:
// empty if the box lies behind the camera, everything if it reaches behind it.
static Rectangle project_box(const FrameSetup& frame, const double (&to_camera)[9], const Nearest& samples,
                             const float (&low)[3], const float (&high)[3]) {
    const double nearest = samples.depth;
    double x0 = 1e30, y0 = 1e30, x1 = -1e30, y1 = -1e30, corners[8][3];
    const auto include = [&](double right, double up, double depth) {
        const double x = frame.cx + frame.fx * right / depth, y = frame.cy - frame.fy * up / depth;
        x0 = std::min(x0, x), x1 = std::max(x1, x), y0 = std::min(y0, y), y1 = std::max(y1, y);
    };
    int behind = 0, reaching = 0;
    for (int corner = 0; corner < 8; corner++) {
        double p[3], (&q)[3] = corners[corner];
        for (int axis = 0; axis < 3; axis++)
            p[axis] = static_cast<double>(corner >> axis & 1 ? high[axis] : low[axis]) - frame.origin[axis];
        for (int i = 0; i < 3; i++)
            q[i] = to_camera[3 * i] * p[0] + to_camera[3 * i + 1] * p[1] + to_camera[3 * i + 2] * p[2];
        q[2] = -q[2];
        if (nearest > 0 ? q[2] >= nearest : q[2] > 1e-6 * (std::abs(q[0]) + std::abs(q[1])))
            include(q[0], q[1], q[2]);
        else
            reaching |= 1 << corner, behind += q[2] < nearest;
    }
    if (behind == 8) return {0, 0, 0, 0};
    if (reaching && nearest <= 0) return {0, 0, frame.width, frame.height};
    for (int edge = 0; edge < 12 && reaching; edge++) {
        // Where it passes through the nearest depth. Edges along an axis: from each corner that is low there.
        const int axis = edge / 4, other = edge % 4;
        const int from = axis == 0 ? other << 1 : axis == 1 ? (other & 1) | (other & 2) << 1 : other;
        const double (&a)[3] = corners[from], (&b)[3] = corners[from | 1 << axis];
        if ((a[2] >= nearest) == (b[2] >= nearest)) continue;
        const double way = (nearest - a[2]) / (b[2] - a[2]);
        include(a[0] + way * (b[0] - a[0]), a[1] + way * (b[1] - a[1]), nearest);
    }
    // Pixel centres lie at +0.5; one pixel more on each side covers the rounding of rays.
    const auto pixel = [](double v, int limit) {
        return static_cast<int>(std::clamp(v, 0.0, static_cast<double>(limit)));
    };
    const double margin = 1.5 + (reaching ? samples.margin : 0.0);
    return {pixel(std::floor(x0 - margin), frame.width), pixel(std::floor(y0 - margin), frame.height),
            pixel(std::ceil(x1 + margin), frame.width), pixel(std::ceil(y1 + margin), frame.height)};
}

}  // namespace knf
