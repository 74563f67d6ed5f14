// What the two halves of a code path need of each other: the march (march.cpp), and its networks (networks*.cpp).
#pragma once

#include "cpu/march/scene.h"

namespace knf::KNF_PATH {

// Whether the direction's part is fitted for each visit; the queue's unit directions are then not needed.
#if defined(KNF_FITTED)
constexpr bool FITTED = true;
#else
constexpr bool FITTED = false;
#endif

// Whether samples come as places in voxels of their level's grid, not in their cell.
#if defined(KNF_OCTREE)
constexpr bool IN_VOXELS = true;
#else
constexpr bool IN_VOXELS = false;
#endif

// See CodePath.
void begin_visit(const void* network, const FrameSetup& frame, const Rectangle& tile, const Rectangle& area,
                 Workspace& work);
void evaluate(const void* network, Workspace& work, int count);

void render_tile(const SceneData& scene, const FrameSetup& frame, const Rectangle& tile, const Visit* visits,
                 int num_visits, Workspace& work, const Picture& picture, Counters& counters);

}  // namespace knf::KNF_PATH
